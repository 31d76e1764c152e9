// Package adapterconfig reads the configuration of adapters: base URLs and fixed headers of ASPSPs,
// certificates, and keys. It adds the faults that it finds to those of the adapter.
package adapterconfig

import (
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
)

// BaseURL returns the base URL of an ASPSP: that of its options, else that of the provider. If there
// is neither, or it is invalid, it adds a fault of the option and returns nil.
func BaseURL(env providers.Env, aspsp providers.ASPSP, option string, faults *config.Faults) *url.URL {
	path := aspsp.Path + ".baseURL"
	if option == "" {
		if env.BaseURL == nil || env.BaseURL.Host == "" {
			faults.Add(path, "is missing: neither the ASPSP nor its provider has a baseURL")
			return nil
		}
		return env.BaseURL
	}
	u, details := config.ParseBaseURL(option)
	for _, detail := range details {
		faults.Add(path, detail)
	}
	if details != nil {
		return nil
	}
	return u
}

// headerFault returns why a fixed header must not be sent; "" if it may. reserved has the names that
// the adapter sets.
func headerFault(name, value string, reserved []string) string {
	key := textproto.CanonicalMIMEHeaderKey(name)
	hasPrefix := func(prefix string) bool { return strings.HasPrefix(key, prefix) }
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "contains a name that is not a header name"
	case slices.Contains(reserved, key), slices.Contains(httpHeaders, key), slices.ContainsFunc(reservedPrefixes, hasPrefix):
		return "contains a header that the gateway sets itself, or that must not be fixed"
	case strings.TrimSpace(value) == "" || !providers.Printable(value):
		return "contains a value that is empty or not printable ASCII"
	}
	return ""
}

// httpHeaders are headers that belong to HTTP, to a trace or to the gateway's callers.
var httpHeaders = []string{
	"Accept", "Accept-Encoding", "Authorization", "Baggage", "Connection", "Consent-Id", "Content-Encoding", "Content-Length", "Content-Type", "Cookie",
	"Expect", "Forwarded", "Host", "Idempotency-Key", "Keep-Alive", "Range", "Te", "Traceparent", "Tracestate", "Trailer",
	"Transfer-Encoding", "Upgrade", "User-Agent", "X-Api-Key", "X-Http-Method-Override", "X-Idempotency-Key", "X-Real-Ip", "X-Request-Id",
}

// reservedPrefixes begin the names of conditional requests, of proxies, and of statements about a
// user who is present.
var reservedPrefixes = []string{
	"If-", "Proxy-", "X-Forwarded-", "Psu-Accept", "Psu-Device-", "Psu-Geo-", "Psu-Http-", "Psu-Ip-", "Psu-User-", "X-Fapi-Customer-",
}
