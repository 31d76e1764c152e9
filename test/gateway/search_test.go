package gateway_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// encodings returns the forms in which other text may contain a text: unchanged, in upper or lower
// case, encoded, or as an unkeyed hash, which confirms a guess.
func encodings(text string) map[string]string {
	sum := sha256.Sum256([]byte(text))
	escaped, _ := json.Marshal(text)
	all := map[string]string{
		"unchanged": text, "lower case": strings.ToLower(text), "upper case": strings.ToUpper(text),
		"path": url.PathEscape(text), "query": url.QueryEscape(text), "JSON": strings.Trim(string(escaped), `"`),
		"hexadecimal": hex.EncodeToString([]byte(text)), "upper case hexadecimal": strings.ToUpper(hex.EncodeToString([]byte(text))),
		"hash": hex.EncodeToString(sum[:]), "half of a hash": hex.EncodeToString(sum[:16]),
		"raw bytes of a hash": string(sum[:]),
	}
	for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 of URLs": base64.RawURLEncoding} {
		all["hash in "+name] = encoding.EncodeToString(sum[:])
		// In a longer text it may start at three offsets, modulo three bytes. Only characters that
		// depend on no other text are searched.
		for lead := range 3 {
			code := encoding.EncodeToString([]byte(strings.Repeat("x", lead) + text))
			from, to := (lead*8+5)/6, (lead+len(text))*8/6
			if to-from >= 8 {
				all[fmt.Sprintf("%s after %d bytes", name, lead)] = code[from:to]
			}
		}
	}
	return all
}

// finding is a canary in a place where it must not be.
type finding struct{ place, canary, encoding string }

// search returns the canaries that the places contain, in any encoding. places and canaries are by
// name.
func search(places, canaries map[string]string) []finding {
	var found []finding
	for name, canary := range canaries {
		for form, text := range encodings(canary) {
			for place, content := range places {
				if strings.Contains(content, text) {
					found = append(found, finding{place, name, form})
				}
			}
		}
	}
	return found
}

// TestSearchFinds: search finds a canary in each encoding, and does not find it in other text.
func TestSearchFinds(t *testing.T) {
	const canary = "Zoë/4711 & co"
	sum := sha256.Sum256([]byte(canary))
	for name, place := range map[string]string{
		"unchanged":       `{"a":"` + canary + `"}`,
		"lower case":      "x zoë/4711 & co",
		"upper case":      "ZOË/4711 & CO",
		"path":            "/v1/Zo%C3%AB%2F4711%20&%20co/balances",
		"query":           "?a=Zo%C3%AB%2F4711+%26+co",
		"JSON":            `Zoë/4711 \u0026 co`,
		"hexadecimal":     "00" + hex.EncodeToString([]byte(canary)),
		"base64":          base64.StdEncoding.EncodeToString([]byte("Bearer " + canary + "!")),
		"base64 of URLs":  base64.URLEncoding.EncodeToString([]byte("ab" + canary)),
		"base64, alone":   base64.StdEncoding.EncodeToString([]byte(canary)),
		"hash":            hex.EncodeToString(sum[:]),
		"truncated hash":  hex.EncodeToString(sum[:])[:40],
		"hash in Redis":   "lease:" + base64.RawURLEncoding.EncodeToString(sum[:]),
		"bytes of a hash": "\x00" + string(sum[:]) + "\x01",
	} {
		if len(search(map[string]string{name: place}, map[string]string{"it": canary})) == 0 {
			t.Errorf("the canary is not found as %s", name)
		}
	}
	if found := search(map[string]string{"elsewhere": "Zoe 4711, 203.0.113.7"}, map[string]string{"it": canary, "address": "203.0.113.99"}); found != nil {
		t.Errorf("found %v in text without a canary", found)
	}
}
