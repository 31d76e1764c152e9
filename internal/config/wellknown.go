package config

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strings"
	"sync"
)

// sandboxKey is the API key of every sandbox.
const sandboxKey = "sandbox-key"

// wellKnownKeys are easily guessed API keys from documentation and examples, separated by spaces.
// They are also refused in upper case and with a line break at the end, which `echo` adds.
//
//go:embed wellknown.txt
var wellKnownKeys string

// wellKnownHashes returns the SHA-256 hashes of wellKnownKeys in lower-case hex.
var wellKnownHashes = sync.OnceValue(func() map[string]bool {
	sums := map[string]bool{}
	for _, key := range append(strings.Fields(wellKnownKeys), "", " ") {
		for _, spelling := range []string{key, strings.ToUpper(key)} {
			for _, end := range []string{"", "\n", "\r\n"} {
				sums[sha256Hex(spelling+end)] = true
			}
		}
	}
	return sums
})

func sha256Hex(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// unguessable checks that a hash is not that of a well-known key. The sandbox's key is accepted if
// all providers are simulators.
func (c *checker) unguessable(path, sum string) {
	switch {
	case sum == sha256Hex(""):
		c.fault(path, "must not be the hash of an empty key")
	case wellKnownHashes()[sum], sum == sha256Hex(sandboxKey) && !c.config.onlyLoopback():
		c.fault(path, "must not be the hash of a well-known key (generate a random key)")
	}
}
