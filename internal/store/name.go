package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// version is that of the keys and values which this program writes and reads. Programs of two versions do not see each other's
// keys, and so not each other's slots: a new version must not just take the place of this one. What it has to do stands
// in docs/design.md, "Formats".
const version = "1"

// Prefix names keys: it says what stands there, in which version of the format, and whose it is only as a hash, from
// which no consent, client or account can be read. It is the common beginning of the names of everything that belongs to owner, a list of texts of which none
// is mistaken for a part of another. All names that begin with one prefix are on one node of a cluster.
func Prefix(kind string, owner ...string) string {
	hash := sha256.New()
	for _, part := range owner {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		hash.Write(length[:])
		hash.Write([]byte(part))
	}
	return "ais:" + version + ":" + kind + ":{" + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)) + "}:"
}
