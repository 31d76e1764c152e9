package canonical

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
	"unicode"
)

const (
	// AccountKeysIDSize is the length, in bytes, of the id of AccountKeys.
	AccountKeysIDSize = 8
	// accountKeySize is how many bytes of the hash an account key has.
	accountKeySize = 16
)

// AccountKeys computes account keys under a secret key. An account key is the same under all
// consents of one client, and reveals nothing about the account. The zero AccountKeys computes none.
type AccountKeys struct {
	newHash func() hash.Hash // a function, so that fmt does not print the key
	id      string
}

// NewAccountKeys returns the AccountKeys of a key of 32 bytes; the zero AccountKeys if key is empty.
func NewAccountKeys(key []byte) AccountKeys {
	if len(key) == 0 {
		return AccountKeys{}
	}
	id := sha256.Sum256(append([]byte("ais-gateway account key id"), key...))
	return AccountKeys{
		newHash: func() hash.Hash { return hmac.New(sha256.New, key) }, id: string(id[:AccountKeysIDSize]),
	}
}

// ID returns a hash of the key, by which gateways recognize account keys of another one; "" for the
// zero AccountKeys.
func (k AccountKeys) ID() string { return k.id }

// Set sets the key of each account of a client's list. It is empty if the account has no number, if
// its number is masked, if another account of the list has the same key, and under the zero
// AccountKeys.
func (k AccountKeys) Set(client, aspsp string, list []Account) {
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
		list[i].Key = accountKey(mac, text, client, aspsp, list[i])
		seen[list[i].Key]++
	}
	for i := range list {
		if seen[list[i].Key] > 1 {
			list[i].Key = ""
		}
	}
}

// accountKey returns the key of an account; "" if it has no number of its own. It overwrites text,
// which is only memory. The form of a key must not change, because callers store it.
func accountKey(mac hash.Hash, text []byte, client, aspsp string, a Account) string {
	number := accountNumber(a.Identification)
	if number == "" {
		return ""
	}
	for _, part := range [...]string{client, aspsp, string(a.Identification.Scheme), number, a.Currency} {
		text = append(binary.BigEndian.AppendUint64(text, uint64(len(part))), part...)
	}
	mac.Reset()
	_, _ = mac.Write(text)
	sum := mac.Sum(text[:0])
	return base64.RawURLEncoding.EncodeToString(sum[:accountKeySize])
}

// accountNumber returns the number in one spelling, without spaces and hyphens in upper case; ""
// for a masked one. A provider's own number is unchanged: its case or hyphens may distinguish
// accounts.
func accountNumber(id Identification) string {
	if id.Scheme == SchemePAN {
		return ""
	}
	if id.Scheme == SchemeProvider {
		return id.Value
	}
	return strings.ToUpper(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.Is(unicode.Pd, c) {
			return -1
		}
		return c
	}, id.Value))
}
