package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"ais-gateway/internal/config"
)

const (
	// maxToken is the maximum size of a token in bytes; a longer credential is not parsed as a
	// token.
	maxToken = 8 << 10
	// maxName is the maximum length of a client's name that is logged unchanged.
	maxName = 128
	// maxDate is the latest accepted date, in seconds since 1970: later ones could overflow in
	// calculations.
	maxDate = 1 << 40
)

// claims are the claims of a token that the gateway uses (RFC 7519, section 4.1; RFC 8693, section
// 4.2).
type claims struct {
	issuer                     string
	audiences                  []string
	expires, notBefore, issued time.Time // zero if missing
	name, claim                string    // the client's name and the claim that contains it
	scopes                     []string  // the known scopes
	scoped                     bool      // the token has a claim with scopes
}

// parseUnverified parses a token in the form of a signed JWT (RFC 7515, section 7.1) without
// verifying it. ok is false if it does not have this form.
func parseUnverified(token string) (payload []byte, unverified claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return nil, claims{}, false
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, claims{}, false
	}
	unverified, ok = parseClaims(payload)
	return payload, unverified, ok
}

// parseClaims returns the claims, and false if a claim has the wrong type or occurs twice.
func parseClaims(payload []byte) (claims, bool) {
	all, ok := parseObject(payload)
	if !ok {
		return claims{}, false
	}
	var c claims
	good := all.readString("iss", &c.issuer) && all.readStrings("aud", &c.audiences) &&
		all.readTime("exp", &c.expires) && all.readTime("nbf", &c.notBefore) && all.readTime("iat", &c.issued)
	for _, claim := range []string{"azp", "client_id", "sub"} {
		if c.name == "" {
			good = good && all.readString(claim, &c.name)
			c.claim = claim
		}
	}
	var scope, scp []string
	good = good && all.readStrings("scope", &scope) && all.readStrings("scp", &scp)
	_, one := all["scope"]
	_, other := all["scp"]
	c.scoped = one || other
	for _, s := range append(scope, scp...) {
		for word := range strings.FieldsSeq(s) {
			if (word == config.ScopeAccounts || word == config.ScopeBalances) && !slices.Contains(c.scopes, word) {
				c.scopes = append(c.scopes, word)
			}
		}
	}
	return c, good
}

// jsonObject has the members of a JSON object. Unlike with structs of encoding/json, their names
// are case-sensitive.
type jsonObject map[string]json.RawMessage

// parseObject parses a JSON object. It returns false if a name occurs twice, because other software
// could use the other value.
func parseObject(text []byte) (jsonObject, bool) {
	in := json.NewDecoder(bytes.NewReader(text))
	if first, err := in.Token(); err != nil || first != json.Delim('{') || !json.Valid(text) {
		return nil, false
	}
	all := jsonObject{}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, false
		}
		if _, found := all[name.(string)]; found {
			return nil, false
		}
		all[name.(string)] = value
	}
	return all, true
}

// readString reads a member into a string. It returns true if the member is missing, false if it
// has another type.
func (o jsonObject) readString(name string, into *string) bool {
	value, there := o[name]
	return !there || value[0] == '"' && json.Unmarshal(value, into) == nil
}

// readStrings is readString for a string or a list of strings.
func (o jsonObject) readStrings(name string, into *[]string) bool {
	value, there := o[name]
	switch {
	case !there:
		return true
	case value[0] == '"':
		*into = make([]string, 1)
		return json.Unmarshal(value, &(*into)[0]) == nil
	}
	var list []*string
	if json.Unmarshal(value, &list) != nil || list == nil {
		return false
	}
	for _, s := range list {
		if s == nil {
			return false
		}
		*into = append(*into, *s)
	}
	return true
}

// readTime is readString for a number of seconds since 1970 (RFC 7519, section 2, NumericDate).
func (o jsonObject) readTime(name string, into *time.Time) bool {
	value, there := o[name]
	if !there {
		return true
	}
	var seconds *float64
	if json.Unmarshal(value, &seconds) != nil || seconds == nil || *seconds < 0 || *seconds > maxDate {
		return false
	}
	*into = time.Unix(int64(*seconds), 0)
	return true
}

// isProgramName reports whether a name has only the length and characters of program names.
func isProgramName(name string) bool {
	unfit := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/-", r)
	}
	return len(name) <= maxName && !strings.ContainsFunc(name, unfit)
}
