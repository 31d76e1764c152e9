package mastercardsim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxSkew   = 5 * time.Minute // between a signature's timestamp and the current time
	maxNonces = 100_000         // maximum number of stored nonces
)

// signed lists all parameters of a signature in the order of the base string.
var signed = []string{
	"oauth_body_hash", "oauth_consumer_key", "oauth_nonce", "oauth_signature_method", "oauth_timestamp", "oauth_version",
}

// authenticate verifies OAuth 1.0a (RFC 5849) with the body hash extension, in Mastercard's
// variant: the base string contains the parameters as they are in the header, not percent-encoded
// one by one. It returns what is wrong, or "".
func (s *Sim) authenticate(r *http.Request, body []byte) string {
	params, ok := parseAuthorization(r.Header.Values("Authorization"))
	if !ok {
		return "The Authorization header is missing or ill-formed"
	}
	sum := sha256.Sum256(body)
	seconds, err := strconv.ParseInt(params["oauth_timestamp"], 10, 64)
	now := s.cfg.Now()
	switch {
	case params["oauth_consumer_key"] != s.cfg.ConsumerKey:
		return "Unknown oauth_consumer_key"
	case params["oauth_version"] != "1.0", params["oauth_signature_method"] != "RSA-SHA256":
		return "Only RSA-SHA256 of OAuth 1.0 is accepted"
	case params["oauth_body_hash"] != base64.StdEncoding.EncodeToString(sum[:]):
		return "oauth_body_hash does not match the body"
	case err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > maxSkew:
		return "oauth_timestamp is not of this time"
	case params["oauth_nonce"] == "":
		return "oauth_nonce is missing"
	}
	escaped, err := url.PathUnescape(params["oauth_signature"])
	if err != nil {
		return "oauth_signature is ill-formed"
	}
	signature, err := base64.StdEncoding.DecodeString(escaped)
	if err != nil {
		return "oauth_signature is ill-formed"
	}
	digest := sha256.Sum256([]byte(baseString(r, params)))
	if rsa.VerifyPKCS1v15(s.cfg.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return "oauth_signature does not match"
	}
	if !s.nonces.add(params["oauth_nonce"], now) {
		return "oauth_nonce was used before"
	}
	return ""
}

// parseAuthorization parses the Authorization header. It must contain each signed parameter and the
// signature exactly once.
func parseAuthorization(values []string) (map[string]string, bool) {
	if len(values) != 1 {
		return nil, false
	}
	list, ok := strings.CutPrefix(values[0], "OAuth ")
	if !ok {
		return nil, false
	}
	params := map[string]string{}
	for part := range strings.SplitSeq(list, ",") {
		name, quoted, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := params[name]; twice || len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
			return nil, false
		}
		if name != "oauth_signature" && !slices.Contains(signed, name) {
			return nil, false
		}
		params[name] = quoted[1 : len(quoted)-1]
	}
	return params, len(params) == len(signed)+1
}

// baseString returns the signed text. It contains only the parameters of the header, so that the
// signature of a call with a URL query does not match.
func baseString(r *http.Request, params map[string]string) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host := strings.ToLower(r.Host)
	host = strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
	path, _, _ := strings.Cut(r.RequestURI, "?")
	pairs := make([]string, 0, len(signed))
	for _, name := range signed {
		pairs = append(pairs, name+"="+params[name])
	}
	return r.Method + "&" + percent(scheme+"://"+host+path) + "&" + percent(strings.Join(pairs, "&"))
}

// percent encodes all characters except the unreserved ones of RFC 3986.
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// nonces stores used nonces for as long as a signature is valid, at most maxNonces.
type nonces struct {
	mu   sync.Mutex
	seen map[string]bool
	used []nonce // in order of use
}

type nonce struct {
	value string
	at    time.Time
}

// add stores a nonce and reports whether it is new.
func (n *nonces) add(value string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.used) > 0 && (len(n.used) >= maxNonces || now.Sub(n.used[0].at) > 2*maxSkew) {
		delete(n.seen, n.used[0].value)
		n.used = n.used[1:]
	}
	if n.seen[value] {
		return false
	}
	n.seen[value] = true
	n.used = append(n.used, nonce{value, now})
	return true
}
