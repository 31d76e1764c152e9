package otelenv

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// Each check returns the value in the spelling that the libraries read, and whether the value is
// valid; see variable.check.

// boolean accepts common spellings of true and false.
func boolean(_, value string) (string, bool) {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "on", "t", "y":
		return "true", true
	case "false", "0", "no", "off", "f", "n":
		return "false", true
	}
	return "", false
}

// oneOf returns a check that accepts one of the words, in any case.
func oneOf(words ...string) func(name, value string) (string, bool) {
	return func(_, value string) (string, bool) {
		word := strings.ToLower(value)
		if !slices.Contains(words, word) {
			return "", false
		}
		return word, true
	}
}

// listOf returns a check that accepts a comma-separated list of the words. Of an invalid list it
// returns the known words.
func listOf(words ...string) func(name, value string) (string, bool) {
	return func(_, value string) (string, bool) {
		var known []string
		all := strings.Split(strings.ToLower(value), ",")
		for _, word := range all {
			if word = strings.TrimSpace(word); slices.Contains(words, word) {
				known = append(known, word)
			}
		}
		return strings.Join(known, ","), len(known) == len(all)
	}
}

// number returns a check that accepts whole numbers from lowest to highest.
func number(lowest, highest int64) func(name, value string) (string, bool) {
	return func(_, value string) (string, bool) {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < lowest || n > highest {
			return "", false
		}
		return strconv.FormatInt(n, 10), true
	}
}

// ratio accepts a number from 0 to 1.
func ratio(_, value string) (string, bool) {
	r, err := strconv.ParseFloat(value, 64)
	if err != nil || !(r >= 0 && r <= 1) { // false for NaN
		return "", false
	}
	return value, true
}

// text accepts UTF-8 without control characters.
func text(_, value string) (string, bool) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return "", false
	}
	return value, true
}

// attributes accepts keys with percent-encoded values.
func attributes(_, value string) (string, bool) {
	for pair := range strings.SplitSeq(value, ",") {
		key, encoded, found := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(encoded)
		if _, ok := text("", key+decoded); !ok || !found || err != nil || strings.TrimSpace(key) == "" {
			return "", false
		}
	}
	return value, true
}

// headers accepts names of HTTP headers with percent-encoded values.
func headers(_, value string) (string, bool) {
	for pair := range strings.SplitSeq(value, ",") {
		name, encoded, found := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(encoded)
		if !found || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) || !httpguts.ValidHeaderFieldValue(decoded) {
			return "", false
		}
	}
	return value, true
}

// endpoint accepts the URL of a collector. Parts that the libraries would ignore, such as a
// password, are refused.
func endpoint(_, value string) (string, bool) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", false
		}
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(value, "#") {
		return "", false
	}
	return value, true
}

// certificates accepts a file with PEM certificates.
func certificates(_, value string) (string, bool) {
	content, err := os.ReadFile(value) //nolint:gosec // the file that the operator names
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(content) {
		return "", false
	}
	return value, true
}

// clientCertificate accepts a file with the certificate for the key in CLIENT_KEY.
func clientCertificate(name, value string) (string, bool) {
	key := strings.TrimSpace(os.Getenv(strings.TrimSuffix(name, "CERTIFICATE") + "KEY"))
	if key == "" {
		return "", false
	}
	if _, err := tls.LoadX509KeyPair(value, key); err != nil {
		return "", false
	}
	return value, true
}

// clientKey accepts any value if CLIENT_CERTIFICATE is set; clientCertificate reads both files.
func clientKey(name, value string) (string, bool) {
	if strings.TrimSpace(os.Getenv(strings.TrimSuffix(name, "KEY")+"CERTIFICATE")) == "" {
		return "", false
	}
	return value, true
}
