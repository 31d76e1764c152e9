package canonical

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/google/uuid"
)

// A Query says what is asked, of whom, under which consent, and whether the user is asking right now.
type Query struct {
	ASPSP     string // the ASPSP's id, a UUID in lower case
	Consent   string // the AIS consent's id; opaque, 1 to 256 characters
	Token     Secret // the user's access token, where the provider needs one
	RequestID string // a UUID, sent to the provider exactly as the caller wrote it
	PSU       *PSU   // the user who is asking right now; nil means that the request is unattended
	Customer  string // the PSU's identifier in the caller's own system, for billing
	Merchant  *Merchant
}

// Attended reports whether the user is asking right now.
func (q Query) Attended() bool { return q.PSU != nil }

// Format writes the ASPSP and the request's id alone, whatever the verb: the rest is personal data.
func (q Query) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "query(aspsp %s, request %s)", q.ASPSP, q.RequestID)
}

// MarshalText writes what Format writes, for encoders.
func (q Query) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(q)), nil }

// LogValue is what Format writes.
func (q Query) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(q)) }

// FoldID is the form in which two spellings of one consent's or account's id are equal: a UUID means the same in
// capitals and in small letters (RFC 9562, section 4), and a bank counts both together; every other id is itself.
func NormalizeID(id string) string {
	if len(id) == 36 && uuid.Validate(id) == nil {
		return strings.ToLower(id)
	}
	return id
}

// A PSU is the payment service user in person, as the caller's front end sees him or her.
type PSU struct {
	IP          netip.Addr // always valid
	Port        uint16     // 0 where unknown
	UserAgent   string
	DeviceID    string // a UUID
	GeoLocation string
}

// A Merchant is on whose behalf a TPP asks, for reporting. Both members are given.
type Merchant struct{ ID, Name string }

// Secret is a text that prints as [secret] wherever it is formatted, logged or encoded.
type Secret string

const hidden = "[secret]"

// Reveal is the text itself. Its callers are few and known: those that put it on the wire.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string { return hidden }

// Format hides the text whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the text from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
