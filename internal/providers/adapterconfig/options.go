// Package adapterconfig reads the configuration of adapters: base URLs and fixed headers of ASPSPs,
// certificates, and keys. It adds the faults that it finds to those of the adapter.
package adapterconfig

import (
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"

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

// Headers returns fixed headers of an ASPSP's requests. It adds a fault of the option headers for a
// name or value that HTTP does not allow, and for a name in reserved, which the adapter or HTTP sets.
func Headers(aspsp providers.ASPSP, option map[string]string, reserved []string, faults *config.Faults) http.Header {
	header := make(http.Header, len(option))
	for _, name := range slices.Sorted(maps.Keys(option)) {
		key, path := textproto.CanonicalMIMEHeaderKey(name), aspsp.Path+".headers"
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			faults.Add(path, "contains a name that is not a header name")
		case slices.Contains(reserved, key), slices.Contains(httpHeaders, key):
			faults.Add(path, "contains a header that the gateway sets itself")
		case header[key] != nil:
			faults.Add(path, "contains a header twice")
		case option[name] == "" || !providers.Printable(option[name]):
			faults.Add(path, "contains a value that is empty or not printable ASCII")
		default:
			header[key] = []string{option[name]}
		}
	}
	return header
}

// httpHeaders are headers that belong to HTTP, to a trace or to the gateway's callers.
var httpHeaders = []string{
	"Accept", "Accept-Encoding", "Authorization", "Baggage", "Connection", "Content-Length", "Content-Type", "Cookie", "Expect", "Host",
	"Idempotency-Key", "Keep-Alive", "Proxy-Authorization", "Te", "Traceparent", "Tracestate", "Trailer", "Transfer-Encoding", "Upgrade",
	"X-Api-Key", "X-Forwarded-For", "X-Request-Id",
}
