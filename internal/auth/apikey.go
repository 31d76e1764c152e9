package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"ais-gateway/internal/config"
)

// key is a client's API key, or several while keys rotate.
type key struct {
	client  Client
	digests [][]byte // SHA-256 in lower-case hex
}

// SetKeys replaces all API keys. Requests in progress keep their client.
func (c *Authenticator) SetKeys(all []config.APIKey) {
	keys := make([]key, len(all))
	for i, k := range all {
		keys[i].client = Client{ID: k.Name, Name: k.Name, By: "api_key", Scopes: k.Scopes, limit: k.RateLimit}
		for _, hash := range k.SHA256 {
			keys[i].digests = append(keys[i].digests, []byte(strings.ToLower(hash)))
		}
	}
	c.keys.Store(&keys)
}

// matchKey returns the key that text is. It always compares all digests of all clients in constant
// time, so that the duration reveals nothing about them.
func matchKey(keys []key, text string) (key, bool) {
	sum := sha256.Sum256([]byte(text))
	var digest [2 * sha256.Size]byte
	hex.Encode(digest[:], sum[:])
	found := -1
	for i, k := range keys {
		for _, d := range k.digests {
			if subtle.ConstantTimeCompare(d, digest[:]) == 1 {
				found = i
			}
		}
	}
	if text == "" || found < 0 {
		return key{}, false
	}
	return keys[found], true
}
