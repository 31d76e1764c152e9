package cache

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
)

// A sealed value is: format (1 byte), key id (4 bytes), nonce (12 bytes), ciphertext with tag. The name of the
// entry is authenticated with it, so that a value under another name cannot be opened. A value of a format that is not
// known is none. A later format's mark must be authenticated too, or a value could be passed off as one of this format.
const (
	sealFormat = 1
	keyIDSize  = 4
)

// A sealer encrypts with AES-256-GCM (NIST SP 800-38D) under random nonces.
type sealer struct{ keys []sealKey }

type sealKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

func newSealer(keys [][]byte) (sealer, error) {
	if len(keys) == 0 {
		return sealer{}, errors.New("no encryption key")
	}
	var s sealer
	for _, key := range keys {
		if len(key) != 32 {
			return sealer{}, errors.New("an encryption key is not 32 bytes")
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return sealer{}, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return sealer{}, err
		}
		hash := sha256.Sum256(append([]byte("ais-gateway key id"), key...))
		s.keys = append(s.keys, sealKey{id: [keyIDSize]byte(hash[:]), aead: aead})
	}
	return s, nil
}

func (s sealer) seal(name string, text []byte) ([]byte, error) {
	key := s.keys[0]
	nonce := make([]byte, key.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	head := append([]byte{sealFormat}, key.id[:]...)
	return key.aead.Seal(append(head, nonce...), nonce, text, []byte(name)), nil
}

// foreign reports whether a value is sealed under a key that is not among the sealer's.
func (s sealer) foreign(value []byte) bool {
	id, ok := keyID(value)
	return ok && !slices.ContainsFunc(s.keys, func(key sealKey) bool { return bytes.Equal(key.id[:], id) })
}

// keyID returns the id of the key that a value is sealed under. ok is false for a value of another format.
func keyID(value []byte) (id []byte, ok bool) {
	if len(value) < 1+keyIDSize || value[0] != sealFormat {
		return nil, false
	}
	return value[1 : 1+keyIDSize], true
}

// ids returns the ids of the sealer's keys, one after the other.
func (s sealer) ids() []byte {
	var all []byte
	for i := range s.keys {
		all = append(all, s.keys[i].id[:]...)
	}
	return all
}

func (s sealer) open(name string, value []byte) ([]byte, bool) {
	id, ok := keyID(value)
	if !ok {
		return nil, false
	}
	rest := value[1+keyIDSize:]
	for _, key := range s.keys {
		size := key.aead.NonceSize()
		if !bytes.Equal(key.id[:], id) || len(rest) < size {
			continue
		}
		if text, err := key.aead.Open(nil, rest[:size], rest[size:], []byte(name)); err == nil {
			return text, true
		}
	}
	return nil, false
}
