package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/config/strict"
)

// rule checks one rule of a tag. The rules for files accept a file that is not set.
func (c *checker) rule(path, name, argument string, v reflect.Value) {
	file, isFile := reflect.TypeAssert[File](v)
	if isFile && !file.Given() {
		return
	}
	switch name {
	case "": // no tag
	case "unique":
		c.unique(listOf(path), path, v.String())
	case "oneof":
		words := strings.Split(argument, "|")
		choice := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
		c.require(path, slices.Contains(words, v.String()), "must be "+choice)
	case "from", "above":
		c.bounds(path, name == "above", argument, v)
	case "names": // of the keys of a map
		c.require(strict.Child(path, ""), !v.MapIndex(reflect.ValueOf("")).IsValid(), "name must not be empty")
	case "text":
		c.require(path, strings.TrimSpace(v.String()) != "", "is empty")
	case "uuid":
		_, err := uuid.Parse(v.String())
		c.require(path, err == nil && v.Len() == 36, "must be a UUID (36 characters)")
	case "address": // to listen on with =listen, to connect to with =dial
		_, _, detail := splitAddress(v.String(), argument == "listen")
		c.require(path, detail == "", detail)
	case "url":
		if v.Len() > 0 || c.config.file.Has(path) {
			c.url(path, v.String())
		}
	case "queryURL": // which may have a query
		if base, query, _ := strings.Cut(v.String(), "?"); v.Len() > 0 {
			c.url(path, base)
			c.require(path, !strings.Contains(query, "#"), "must not contain a fragment")
		}
	case "clientName":
		c.require(path, !strings.HasPrefix(v.String(), OIDCClientPrefix), "must not begin with "+OIDCClientPrefix)
	case "hashes":
		c.hashes(path, v.Interface().(Hashes))
	case "algorithm":
		c.require(path, slices.Contains(Algorithms(), v.String()), "must be one of "+strings.Join(Algorithms(), ", "))
	case "certificate":
		c.certificate(path, file)
	case "password":
		c.require(path, file.Line() != "", "file contains no password")
	case "token":
		c.require(path, strings.TrimSpace(file.Line()) != "", "file contains no token")
	case "keys":
		_, details := file.keys()
		for _, detail := range details {
			c.fault(path, detail)
		}
	default:
		panic("unknown rule " + name)
	}
}

// listOf returns the path of an entry's list, followed by the path of the value in the entry.
func listOf(path string) string {
	return path[:strings.LastIndexByte(path, '[')] + path[strings.LastIndexByte(path, ']'):]
}

// bounds checks a number or duration. The argument is its lower bound, or both bounds separated by
// "..".
func (c *checker) bounds(path string, above bool, argument string, v reflect.Value) {
	low, high, both := strings.Cut(argument, "..")
	value, detail := v.Convert(reflect.TypeFor[float64]()).Float(), "must be "+low+" or more"
	switch {
	case above && both:
		detail = "must be greater than " + low + " and at most " + high
	case above:
		detail = "must be greater than " + low
	case both:
		detail = "must be from " + low + " to " + high
	}
	inside := value > bound(low) || !above && value == bound(low)
	c.require(path, inside && (!both || value <= bound(high)), detail)
}

// bound returns a number, or a duration in nanoseconds.
func bound(text string) float64 {
	if d, err := time.ParseDuration(text); err == nil {
		return float64(d)
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

// splitAddress returns the parts of host:port, or the detail of its fault. An address to listen on
// may have an empty host and port 0.
func splitAddress(address string, listens bool) (host string, port int, detail string) {
	host, digits, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(digits, 10, 16)
	switch {
	case err != nil:
		detail = "must be host:port"
	case portErr != nil && listens:
		detail = "port must be a number from 0 to 65535"
	case portErr != nil || n == 0 && !listens:
		detail = "port must be a number from 1 to 65535"
	case host == "" && !listens:
		detail = "must be host:port with a host"
	case strings.ContainsAny(host, " /@"):
		detail = "host must be a name or an IP address"
	}
	return host, int(n), detail
}

// url checks the base URL of a provider or an issuer.
func (c *checker) url(path, base string) {
	_, details := ParseBaseURL(base)
	for _, detail := range details {
		c.fault(path, detail)
	}
}

// ParseBaseURL returns the base URL of a provider or issuer, and what is wrong with it: it must be
// https, or http on a loopback address, with a host and without user, query and fragment.
func ParseBaseURL(base string) (u *url.URL, details []string) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, []string{"must be an absolute https URL"}
	}
	require := func(condition bool, detail string) {
		if !condition {
			details = append(details, detail)
		}
	}
	require(u.Scheme == "https" || IsLoopback(u.Hostname()), "must be https (http only for loopback addresses)")
	require(u.User == nil, "must not contain a user or password")
	require(u.RawQuery == "" && !u.ForceQuery, "must not contain a query")
	require(!strings.Contains(base, "#"), "must not contain a fragment")
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		require(err == nil && n > 0, "port must be a number from 1 to 65535")
	}
	return u, details
}

// IsLoopback reports whether the host of a base URL is a loopback address, for which plain http and
// a missing client certificate are accepted.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback() && ip.Zone() == ""
}

// certificate requires a PEM certificate if the file is set.
func (c *checker) certificate(path string, f File) {
	c.require(path, !f.Given() || f.pool() != nil, "file must contain a PEM certificate")
}

// pool returns the certificates of a PEM file, nil if there are none.
func (f File) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(f.Content()) {
		return nil
	}
	return pool
}

// keyPair requires certificateFile and keyFile below path, and that the key is that of the
// certificate.
func (c *checker) keyPair(path string, certificate, key File) {
	if c.requireSet(path+".certificateFile", certificate.Given()) && c.requireSet(path+".keyFile", key.Given()) {
		_, err := tls.X509KeyPair(certificate.Content(), key.Content())
		c.require(path+".keyFile", err == nil, "must be the private key of "+path+".certificateFile (both in PEM)")
	}
}

// keys returns the 32-byte keys of the file, which has one per line in base64, and a detail for
// each invalid line.
func (f File) keys() (keys [][]byte, details []string) {
	lines := map[string]int{} // the line of each key
	for i, l := range bytes.Split(f.Content(), []byte("\n")) {
		l = bytes.TrimSpace(l)
		if len(l) == 0 {
			continue
		}
		k, err := base64.StdEncoding.Strict().DecodeString(string(l))
		switch first := lines[string(k)]; {
		case err != nil || len(k) != 32:
			details = append(details, fmt.Sprintf("line %d must be 32 bytes in base64", i+1))
		case first != 0:
			details = append(details, fmt.Sprintf("line %d is a duplicate of line %d", i+1, first))
		default:
			lines[string(k)] = i + 1
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && len(details) == 0 {
		details = append(details, "file contains no key")
	}
	return keys, details
}

// firstKey returns the first key of the file; nil if it has none.
func (f File) firstKey() []byte {
	keys, _ := f.keys()
	if len(keys) == 0 {
		return nil
	}
	return keys[0]
}
