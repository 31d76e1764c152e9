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

// guises are the ways in which a text may stand in another place: as it is, in either case, encoded, and as a hash of
// it alone, which anybody can make who guesses the text.
func guises(text string) map[string]string {
	sum := sha256.Sum256([]byte(text))
	escaped, _ := json.Marshal(text)
	all := map[string]string{
		"itself": text, "in small letters": strings.ToLower(text), "in capitals": strings.ToUpper(text),
		"in a path": url.PathEscape(text), "in a query": url.QueryEscape(text), "in JSON": strings.Trim(string(escaped), `"`),
		"in hexadecimal": hex.EncodeToString([]byte(text)), "in hexadecimal capitals": strings.ToUpper(hex.EncodeToString([]byte(text))),
		"as a hash": hex.EncodeToString(sum[:]), "as half a hash": hex.EncodeToString(sum[:16]),
		"as raw bytes of a hash": string(sum[:]),
	}
	for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 of URLs": base64.RawURLEncoding} {
		all["as a hash in "+name] = encoding.EncodeToString(sum[:])
		// Within a longer text it may begin at any of three places: what surely is the text's is looked for.
		for lead := range 3 {
			code := encoding.EncodeToString([]byte(strings.Repeat("x", lead) + text))
			from, to := (lead*8+5)/6, (lead+len(text))*8/6
			if to-from >= 8 {
				all[fmt.Sprintf("in %s behind %d bytes", name, lead)] = code[from:to]
			}
		}
	}
	return all
}

// A finding is a canary that stands where it must not.
type finding struct{ place, canary, form string }

// search looks for canaries, by name, in every place.
func search(places, canaries map[string]string) []finding {
	var found []finding
	for name, canary := range canaries {
		for form, text := range guises(canary) {
			for place, content := range places {
				if strings.Contains(content, text) {
					found = append(found, finding{place, name, form})
				}
			}
		}
	}
	return found
}

// A search that finds nothing must be able to find something.
func TestSearchFinds(t *testing.T) {
	const canary = "Zoë/4711 & co"
	sum := sha256.Sum256([]byte(canary))
	for name, place := range map[string]string{
		"itself":          `{"a":"` + canary + `"}`,
		"small letters":   "x zoë/4711 & co",
		"capitals":        "ZOË/4711 & CO",
		"a path":          "/v1/Zo%C3%AB%2F4711%20&%20co/balances",
		"a query":         "?a=Zo%C3%AB%2F4711+%26+co",
		"JSON":            `Zoë/4711 \u0026 co`,
		"hexadecimal":     "00" + hex.EncodeToString([]byte(canary)),
		"base64":          base64.StdEncoding.EncodeToString([]byte("Bearer " + canary + "!")),
		"base64 of URLs":  base64.URLEncoding.EncodeToString([]byte("ab" + canary)),
		"base64 of it":    base64.StdEncoding.EncodeToString([]byte(canary)),
		"a hash":          hex.EncodeToString(sum[:]),
		"a hash cut off":  hex.EncodeToString(sum[:])[:40],
		"a hash in Redis": "lease:" + base64.RawURLEncoding.EncodeToString(sum[:]),
		"a hash's bytes":  "\x00" + string(sum[:]) + "\x01",
	} {
		if len(search(map[string]string{name: place}, map[string]string{"it": canary})) == 0 {
			t.Errorf("it is not found as %s", name)
		}
	}
	if found := search(map[string]string{"elsewhere": "Zoe 4711, 203.0.113.7"}, map[string]string{"it": canary, "address": "203.0.113.99"}); found != nil {
		t.Errorf("found %v where there is nothing", found)
	}
}
