package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// version is the format version of the keys and values. Programs with different versions do not see
// each other's keys, and therefore not each other's slots. A change of version needs a migration:
// see docs/design.md, "Formats".
const version = "1"

// Prefix returns the prefix of the names of all keys of a kind that belong to owner: the format
// version, the kind, and a hash of owner, from which no consent, client or account can be derived.
// Different lists have different hashes, even if their strings concatenate to the same text. All
// keys with the same prefix are on one node of a cluster.
func Prefix(kind string, owner ...string) string {
	text := make([]byte, 0, 512)
	for _, part := range owner {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	hash := sha256.Sum256(text)
	name := append(make([]byte, 0, 128), "ais:"+version+":"...)
	name = append(append(name, kind...), ":{"...)
	name = base64.RawURLEncoding.AppendEncode(name, hash[:])
	return string(append(name, "}:"...))
}

// Names returns the names of keys with the same prefix.
func Names(prefix string, keys ...string) []string {
	var all strings.Builder
	all.Grow(512)
	for _, key := range keys {
		all.WriteString(prefix)
		all.WriteString(key)
	}
	names, text := make([]string, len(keys)), all.String()
	for i, key := range keys {
		size := len(prefix) + len(key)
		names[i], text = text[:size], text[size:]
	}
	return names
}
