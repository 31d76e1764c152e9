package canonical

import (
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// foldRounds bounds how often an id is folded until it no longer changes: a combining character that an invisible one
// kept apart from its base makes a second round necessary.
const foldRounds = 8

// CountedID returns the form of an id under which it is counted. FoldID, in contrast, keeps apart all that a bank might. Spellings that a bank might take for the same id have one form:
// NFKC, without case, white space and invisible characters, and every form of a UUID. Two ids that a bank tells apart may
// have one form, too: they share a counter, so that the limit is stricter, never looser.
func CountedID(id string) string {
	for range foldRounds {
		next := norm.NFKC.String(strings.Map(visible, foldCase(norm.NFKC.String(id))))
		if next == id {
			break
		}
		id = next
	}
	return foldUUID(id)
}

// foldCase removes all differences of case, including those that only one of the two directions has ("ı", "İ").
func foldCase(id string) string {
	return cases.Fold().String(strings.ToUpper(strings.ToLower(id)))
}

// brailleBlank is the one character that is neither white space nor ignorable by Unicode's properties, and invisible.
const brailleBlank = '\u2800'

// visible returns a character, or -1 if it is not visible.
func visible(r rune) rune {
	if r == brailleBlank || unicode.In(r, unicode.White_Space, unicode.Cc, unicode.Cf,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return -1
	}
	return r
}

// foldUUID returns the form with hyphens of a UUID in any form: with other dashes or none, in brackets, as a URN.
func foldUUID(id string) string {
	bare := strings.Map(func(r rune) rune {
		if unicode.IsPunct(r) || unicode.IsSymbol(r) {
			return -1
		}
		return r
	}, id)
	bare = strings.TrimPrefix(strings.TrimPrefix(bare, "urn"), "uuid")
	raw, err := hex.DecodeString(bare)
	if err != nil {
		return id
	}
	parsed, err := uuid.FromBytes(raw)
	if err != nil {
		return id
	}
	return parsed.String()
}
