package adapter

import (
	"net/http"

	"ais-gateway/internal/canonical"
)

// kindByStatus contains the statuses that mean more than their class. The 4xx among them are
// temporary.
var kindByStatus = map[int]canonical.Kind{
	http.StatusRequestTimeout:     canonical.ProviderError,
	http.StatusConflict:           canonical.ProviderError,
	http.StatusMisdirectedRequest: canonical.ProviderError,
	http.StatusLocked:             canonical.ProviderError,
	http.StatusFailedDependency:   canonical.ProviderError,
	http.StatusTooEarly:           canonical.ProviderError,
	statusClientClosedRequest:     canonical.ProviderError,
	http.StatusTooManyRequests:    canonical.ProviderThrottled,
	http.StatusServiceUnavailable: canonical.ProviderUnavailable,
	http.StatusGatewayTimeout:     canonical.ProviderTimeout,
}

// statusClientClosedRequest is sent by proxies that gave up waiting for a server.
const statusClientClosedRequest = 499

// KindByStatus returns the kind of an error response by its status alone. It never returns a kind
// that means that the consent, the token or the account is at fault.
func KindByStatus(status int) canonical.Kind {
	if kind, ok := kindByStatus[status]; ok {
		return kind
	}
	switch {
	case status < http.StatusBadRequest:
		return canonical.ProviderInvalidResponse
	case status < http.StatusInternalServerError:
		return canonical.ProviderRejected
	}
	return canonical.ProviderError
}
