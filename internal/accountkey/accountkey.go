// Package accountkey computes account keys: identifiers of accounts that are the same under all
// consents of a client, and reveal nothing about the account. internal/cache calls it for every list
// that is sent and stored.
package accountkey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
)

const (
	// IDSize is the length, in bytes, of the id of Keys.
	IDSize = 8
	// keySize is how many bytes of the hash an account key has.
	keySize = 16
)

// Keys computes account keys under a secret key. The zero Keys computes none.
type Keys struct {
	newHash func() hash.Hash // a function, so that fmt does not print the key
	id      string
}

// New returns the Keys of a key of 32 bytes; the zero Keys if key is empty.
func New(key []byte) Keys {
	if len(key) == 0 {
		return Keys{}
	}
	id := sha256.Sum256(append([]byte("ais-gateway account key id"), key...))
	return Keys{
		newHash: func() hash.Hash { return hmac.New(sha256.New, key) }, id: string(id[:IDSize]),
	}
}

// ID returns a hash of the key, by which gateways recognize account keys of another one; "" for the
// zero Keys.
func (k Keys) ID() string { return k.id }

// Set sets the key of each account of a client's list. It is empty if the account has no number, if
// its number is masked, if another account of the list has the same key, and under the zero Keys.
func (k Keys) Set(client, aspsp string, list []canonical.Account) {
	if k.id == "" {
		for i := range list {
			list[i].Key = ""
		}
		return
	}
	mac, text := k.newHash(), make([]byte, 0, 256)
	aspsp = strings.ToLower(aspsp)
	seen := make(map[string]int, len(list))
	for i := range list {
		list[i].Key = keyOf(mac, text, client, aspsp, list[i])
		seen[list[i].Key]++
	}
	for i := range list {
		if seen[list[i].Key] > 1 {
			list[i].Key = ""
		}
	}
}

// keyOf returns the key of an account; "" if it has no number, or a masked one. It overwrites text,
// which is only memory. The form of a key must not change, because callers store it.
func keyOf(mac hash.Hash, text []byte, client, aspsp string, a canonical.Account) string {
	number := numberOf(a.Identification)
	if number == "" {
		return ""
	}
	for _, part := range [...]string{client, aspsp, string(a.Identification.Scheme), number, a.Currency} {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(part))), part...)
	}
	mac.Reset()
	_, _ = mac.Write(text)
	sum := mac.Sum(text[:0])
	return base64.RawURLEncoding.EncodeToString(sum[:keySize])
}

// numberOf returns the number in one spelling: in upper case, without spaces and hyphens; "" for a
// masked one. A provider's own number is unchanged: its case or hyphens may distinguish accounts.
func numberOf(id canonical.Identification) string {
	if id.Scheme == canonical.SchemePAN {
		return ""
	}
	if id.Scheme == canonical.SchemeProvider {
		return id.Value
	}
	return strings.ToUpper(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.Is(unicode.Pd, c) {
			return -1
		}
		return c
	}, id.Value))
}
