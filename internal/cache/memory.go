package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
)

const (
	// RefusedFor is how long a refusal is remembered.
	RefusedFor = time.Hour
	// pagesFor is how long the number of a list's pages is remembered.
	pagesFor = 7 * 24 * time.Hour
	// maxRefusals is how many refusals of one consent are remembered; the oldest go first.
	maxRefusals = 32

	subjectSize = 43 // bytes of a subject
	codeSize    = 16 // bytes of a code with its padding
	refusalSize = subjectSize + codeSize + timeSize
)

// A Memory is what a client's earlier calls under the same consent have shown.
type Memory struct {
	RefusedWith canonical.Kind // why the ASPSP refused an unattended read within the last hour; "" if it did not
	Pages       int            // calls that the account list needs, if more than one; 0 if unknown
}

func decodeMemory(refusals, pages string, now time.Time, want Lookup) Memory {
	m := Memory{RefusedWith: refusal(refusals, now, want.ConsentSubject, want.ReadSubject)}
	if pages != "" {
		m.Pages, _ = strconv.Atoi(pages)
	}
	return m
}

// refusal returns the newest kind in the text for one of the subjects; "" if there is none. An
// unknown account does not affect the consent's other accounts. An unknown kind, of a newer
// gateway, is ignored.
func refusal(text string, now time.Time, consent, account string) canonical.Kind {
	for ; len(text) >= refusalSize; text = text[refusalSize:] {
		kind := canonical.Kind(strings.TrimRight(text[subjectSize:subjectSize+codeSize], " "))
		micros, err := strconv.ParseInt(text[refusalSize-timeSize:refusalSize], 10, 64)
		if age := now.Sub(time.UnixMicro(micros)); err != nil || age >= RefusedFor || age < -maxClockSkew || !kind.Known() {
			continue
		}
		subject := text[:subjectSize]
		if subject == account || subject == consent && kind != canonical.AccountUnknown {
			return kind
		}
	}
	return ""
}

// Subject returns a hash of the user's token and an account, "" for none, for names and values in
// Redis. It includes the consent, which is not in Redis: without it, an account number could be
// found by hashing all numbers.
func Subject(q canonical.Query, account string) string {
	text := make([]byte, 0, 512)
	text = append(strconv.AppendQuote(text, canonical.NormalizeID(q.Consent)), ' ')
	text = append(strconv.AppendQuote(text, q.Token.Reveal()), ' ')
	hash := sha256.Sum256(strconv.AppendQuote(text, account))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// Learned is what a call has shown about later ones. The zero value changes nothing.
type Learned struct {
	// Subject is what the ASPSP has refused RefusedWith, which is remembered for an hour; "" for
	// nothing.
	Subject     string
	RefusedWith canonical.Kind
	// Accepted means that the user has read the list, so that publishing the result deletes all
	// refusals of the consent and of its accounts.
	Accepted bool
	// Pages is how many calls the list needs; below 0 if that is unknown now, 0 for no change.
	Pages int
}

// Learn returns what a read of an account's balances, or of the account list for "", has shown. calls
// is how many calls it made, and failure how it failed; nil if it succeeded.
func (m Memory) Learn(q canonical.Query, account string, calls int, failure *canonical.Error) Learned {
	var learned Learned
	switch {
	case failure == nil:
		learned.Accepted = q.Attended()
		if account == "" && calls > 0 && calls != max(m.Pages, 1) {
			learned.Pages = calls
		}
		return learned
	case failure.Slots != nil:
		return Learned{Pages: failure.Slots.Needed}
	case failure.Origin == canonical.OriginGateway:
		return Learned{}
	case failure.RejectsConsent():
		learned.Pages = -1
	}
	switch kind := failure.Kind; {
	case q.Attended(): // it takes no slot: refusals of invented consents could fill Redis
	case kind == canonical.AccountUnknown:
		learned.Subject, learned.RefusedWith = Subject(q, account), kind
	case kind == canonical.ConsentExpired, kind == canonical.ConsentInvalid:
		learned.Subject, learned.RefusedWith = Subject(q, ""), kind
	}
	return learned
}

// args returns the last arguments of publish.lua. ended is the end of the call.
func (l Learned) args(ended time.Time) []any {
	entry, pages := "", ""
	if len(l.Subject) == subjectSize && len(l.RefusedWith) <= codeSize && !ended.IsZero() {
		entry = fmt.Sprintf("%s%-*s%0*d", l.Subject, codeSize, l.RefusedWith, timeSize, ended.UnixMicro())
	}
	switch {
	case l.Pages > 1:
		pages = strconv.Itoa(l.Pages)
	case l.Pages != 0:
		pages = "0"
	}
	return []any{l.Accepted, entry, RefusedFor.Milliseconds(), (maxRefusals - 1) * refusalSize, pages, pagesFor.Milliseconds()}
}
