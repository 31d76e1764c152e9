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
	// maxToken bounds a token, in bytes; what is longer is taken for none.
	maxToken = 8 << 10
	// maxName is how long a client's name may be to be logged as it is.
	maxName = 128
	// maxDate is the latest date that a token may have, in seconds: beyond it, sums with it could overflow.
	maxDate = 1 << 40
)

// claims are what a token says (RFC 7519, section 4.1; RFC 8693, section 4.2).
type claims struct {
	issuer                     string
	audiences                  []string
	expires, notBefore, issued time.Time // zero where they are missing
	name, claim                string    // of the client, and the claim in which it stands
	scopes                     []string  // those that the gateway knows
	scoped                     bool      // whether there is any claim about scopes
}

// peek reads a token that has the form of a signed JWT (RFC 7515, section 7.1), and believes nothing of it.
func peek(token string) (payload []byte, said claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return nil, claims{}, false
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, claims{}, false
	}
	said, ok = readClaims(payload)
	return payload, said, ok
}

// readClaims is false where a claim has not the type that it must have, or is there twice.
func readClaims(payload []byte) (claims, bool) {
	all, ok := members(payload)
	if !ok {
		return claims{}, false
	}
	var c claims
	good := all.text("iss", &c.issuer) && all.texts("aud", &c.audiences) &&
		all.date("exp", &c.expires) && all.date("nbf", &c.notBefore) && all.date("iat", &c.issued)
	for _, claim := range []string{"azp", "client_id", "sub"} {
		if c.name == "" {
			good = good && all.text(claim, &c.name)
			c.claim = claim
		}
	}
	var scope, scp []string
	good = good && all.texts("scope", &scope) && all.texts("scp", &scp)
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

// An object is a JSON object's members. Their names differ by case, other than for encoding/json's structs.
type object map[string]json.RawMessage

// members reads one JSON object whose members are all different: of two, two readers could believe one each.
func members(text []byte) (object, bool) {
	in := json.NewDecoder(bytes.NewReader(text))
	if first, err := in.Token(); err != nil || first != json.Delim('{') || !json.Valid(text) {
		return nil, false
	}
	all := object{}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, false
		}
		if _, twice := all[name.(string)]; twice {
			return nil, false
		}
		all[name.(string)] = value
	}
	return all, true
}

// text reads a string, if it is there.
func (o object) text(name string, into *string) bool {
	value, there := o[name]
	return !there || value[0] == '"' && json.Unmarshal(value, into) == nil
}

// texts reads a string, or a list of them, if it is there.
func (o object) texts(name string, into *[]string) bool {
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

// date reads a number of seconds, if it is there (RFC 7519, section 2, NumericDate).
func (o object) date(name string, into *time.Time) bool {
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

// programName reports whether a name looks like that of a program.
func programName(name string) bool {
	unfit := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/-", r)
	}
	return len(name) <= maxName && !strings.ContainsFunc(name, unfit)
}
