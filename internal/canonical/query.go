package canonical

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/google/uuid"
)

// Query is the canonical form of a request for accounts or balances.
type Query struct {
	ASPSP     string // the ASPSP's id, a UUID in lower case
	Consent   string // the AIS consent's id; opaque, 1 to 256 characters
	Token     Secret // the user's access token, if the provider needs one
	RequestID string // a UUID, passed to the provider exactly as the caller wrote it
	PSU       *PSU   // the user who is actively requesting; nil for an unattended request
	Customer  string // the PSU's identifier in the caller's own system, for billing
	Merchant  *Merchant
}

// Attended reports whether the user is actively requesting.
func (q Query) Attended() bool { return q.PSU != nil }

// Format writes only the ASPSP id and the request id, for every verb, because the rest is personal
// data.
func (q Query) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "query(aspsp %s, request %s)", q.ASPSP, q.RequestID)
}

// MarshalText returns the text of Format.
func (q Query) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(q)), nil }

// LogValue returns the text of Format.
func (q Query) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(q)) }

// NormalizeID returns the form of a consent or account id in which equal ids have equal text: a
// UUID in lower case (RFC 9562, section 4), and any other id unchanged.
func NormalizeID(id string) string {
	if len(id) == 36 && uuid.Validate(id) == nil {
		return strings.ToLower(id)
	}
	return id
}

// PSU describes the payment service user, as the caller's front end sees the user.
type PSU struct {
	IP          netip.Addr // always valid
	Port        uint16     // 0 if unknown
	UserAgent   string
	DeviceID    string // a UUID
	GeoLocation string
}

// Merchant is the merchant for whom the TPP makes the request, for reporting. Both fields are set.
type Merchant struct{ ID, Name string }

// Secret is a text that is formatted, logged and encoded as [secret].
type Secret string

const hidden = "[secret]"

// Reveal returns the text itself. Use it only to send or hash the secret.
func (s Secret) Reveal() string { return string(s) }

// String returns [secret].
func (s Secret) String() string { return hidden }

// Format writes [secret] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText returns [secret].
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns [secret].
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
