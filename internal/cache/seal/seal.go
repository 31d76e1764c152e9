// Package seal encrypts the values of the cache under keys that rotate. internal/cache uses it.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
)

// A sealed value is: schema (1 byte), key id (4 bytes), nonce (12 bytes), ciphertext with tag. The
// schema is that of the text. It is authenticated with the value, and so is the name of the entry:
// a value under another name or schema cannot be opened.
const keyIDSize = 4

// A Sealer encrypts with AES-256-GCM (NIST SP 800-38D) and random nonces.
type Sealer struct {
	IDs  []byte // of the keys, one after the other
	keys []sealKey
}

type sealKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

// New returns a Sealer that encrypts with the first key and decrypts with all. It fails if there is
// none, or if one does not have 32 bytes.
func New(keys [][]byte) (Sealer, error) {
	if len(keys) == 0 {
		return Sealer{}, errors.New("no encryption key")
	}
	var s Sealer
	for _, key := range keys {
		if len(key) != 32 {
			return Sealer{}, errors.New("an encryption key is not 32 bytes")
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return Sealer{}, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return Sealer{}, err
		}
		hash := sha256.Sum256(append([]byte("ais-gateway key id"), key...))
		s.keys = append(s.keys, sealKey{id: [keyIDSize]byte(hash[:]), aead: aead})
		s.IDs = append(s.IDs, hash[:keyIDSize]...)
	}
	return s, nil
}

// Seal encrypts a text under a name.
func (s Sealer) Seal(schema byte, name string, text []byte) ([]byte, error) {
	key := s.keys[0]
	nonce := make([]byte, key.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	head := append([]byte{schema}, key.id[:]...)
	return key.aead.Seal(append(head, nonce...), nonce, text, additional(schema, name)), nil
}

// additional returns the data that is authenticated with a value.
func additional(schema byte, name string) []byte { return append([]byte{schema}, name...) }

// UnderUnknownKey reports whether a value is sealed under a key that the sealer does not have.
func (s Sealer) UnderUnknownKey(value []byte) bool {
	id, ok := keyID(value)
	return ok && !slices.ContainsFunc(s.keys, func(key sealKey) bool { return bytes.Equal(key.id[:], id) })
}

// keyID returns the id of the key that a value is sealed under. ok is false for a value that is too
// short.
func keyID(value []byte) (id []byte, ok bool) {
	if len(value) < 1+keyIDSize {
		return nil, false
	}
	return value[1 : 1+keyIDSize], true
}

// Open decrypts a value in its own memory. ok is false if no key opens it.
func (s Sealer) Open(name string, value []byte) (schema byte, text []byte, ok bool) {
	id, ok := keyID(value)
	if !ok {
		return 0, nil, false
	}
	rest := value[1+keyIDSize:]
	for _, key := range s.keys {
		size := key.aead.NonceSize()
		if !bytes.Equal(key.id[:], id) || len(rest) < size {
			continue
		}
		if text, err := key.aead.Open(rest[size:size], rest[:size], rest[size:], additional(value[0], name)); err == nil {
			return value[0], text, true
		}
	}
	return 0, nil, false
}
