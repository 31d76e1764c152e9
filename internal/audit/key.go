package audit

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
)

// keyPurpose is the HKDF info string of a derived key.
const keyPurpose = "ais-gateway audit records, consents, version 1"

// Key returns configured if it is not nil. Otherwise it derives a key from the first of the cache's
// keys. Without these it returns a random key, with which the hash of a consent is the same only as
// long as the process lives.
func Key(configured []byte, cacheKeys [][]byte) ([]byte, error) {
	if configured != nil {
		return configured, nil
	}
	if len(cacheKeys) > 0 {
		return hkdf.Key(sha256.New, cacheKeys[0], nil, keyPurpose, sha256.Size)
	}
	key := make([]byte, sha256.Size)
	_, err := rand.Read(key)
	return key, err
}
