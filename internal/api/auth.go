package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"

	"ais-gateway/internal/config"
)

// A client is who may call, and what for.
type client struct {
	name   string
	digest []byte // of the key, SHA-256 in lower-case hex
	scopes []string
}

func known(keys []config.APIKey) []client {
	clients := make([]client, len(keys))
	for i, k := range keys {
		clients[i] = client{k.Name, []byte(strings.ToLower(k.SHA256)), k.Scopes}
	}
	return clients
}

func (s *server) setKeys(keys []config.APIKey) {
	clients := known(keys)
	s.clients.Store(&clients)
}

// authenticate finds whose key it is. Every client's is compared, and all of it, so that the time taken says
// nothing about any.
func (s *server) authenticate(key string) (client, bool) {
	sum := sha256.Sum256([]byte(key))
	digest := []byte(hex.EncodeToString(sum[:]))
	clients, found := *s.clients.Load(), -1
	for i, c := range clients {
		if subtle.ConstantTimeCompare(c.digest, digest) == 1 {
			found = i
		}
	}
	if key == "" || found < 0 {
		return client{}, false
	}
	return clients[found], true
}

// may reports whether the client has the scope; "" is everybody's.
func (c client) may(scope string) bool { return scope == "" || slices.Contains(c.scopes, scope) }
