package canonical

import (
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// foldRounds bounds how often an id is folded until it no longer changes: a combining character
// that an invisible one kept apart from its base makes a second round necessary.
const foldRounds = 8

// CountedID returns the form of an id under which it is counted. All spellings that an ASPSP might
// treat as the same id have one form: NFKC, without case, white space and invisible characters, and
// one form for UUIDs. Two ids that an ASPSP distinguishes may have the same form: they share a
// counter, so that the limit is stricter, never looser. NormalizeID, in contrast, maps only
// spellings of one UUID to the same form.
func CountedID(id string) string {
	if len(id) == 36 && uuid.Validate(id) == nil { // the usual form; the others have the same result
		return strings.ToLower(id)
	}
	return foldID(id)
}

// foldID is CountedID for an id in any form.
func foldID(id string) string {
	for range foldRounds {
		next := norm.NFKC.String(strings.Map(visible, foldCase(norm.NFKC.String(id))))
		if next == id {
			break
		}
		id = next
	}
	return foldUUID(id)
}

// foldCase removes all differences of case, including those that only one of the two directions has
// ("ı", "İ").
func foldCase(id string) string {
	return cases.Fold().String(strings.ToUpper(strings.ToLower(id)))
}

// brailleBlank is invisible although Unicode's properties do not list it as white space or as
// ignorable.
const brailleBlank = '\u2800'

// visible returns a character, or -1 if it is not visible.
func visible(r rune) rune {
	if r == brailleBlank || unicode.In(r, unicode.White_Space, unicode.Cc, unicode.Cf,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return -1
	}
	return r
}

// foldUUID returns the form with hyphens of a UUID in any form: with other dashes or none, in
// brackets, as a URN.
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
