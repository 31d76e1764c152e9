package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"ais-gateway/internal/config"
)

// A key is an API key, as far as it is known.
type key struct {
	client  Client
	digests [][]byte // SHA-256 in lower-case hex
}

// SetKeys puts these API keys in the place of all that there were. Requests that are under way keep their client.
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

// match finds whose key it is. Every digest of every client is compared, and all of it, so that the time taken says
// nothing about any.
func match(keys []key, text string) (key, bool) {
	sum := sha256.Sum256([]byte(text))
	digest := []byte(hex.EncodeToString(sum[:]))
	found := -1
	for i, k := range keys {
		for _, d := range k.digests {
			if subtle.ConstantTimeCompare(d, digest) == 1 {
				found = i
			}
		}
	}
	if text == "" || found < 0 {
		return key{}, false
	}
	return keys[found], true
}
