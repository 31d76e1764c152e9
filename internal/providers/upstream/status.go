package upstream

import (
	"net/http"

	"ais-gateway/internal/canonical"
)

// statuses are those that say more than their class. The 4xx among them are about a moment, not about what was sent.
var statuses = map[int]canonical.Kind{
	http.StatusRequestTimeout:     canonical.ProviderError,
	http.StatusConflict:           canonical.ProviderError,
	http.StatusMisdirectedRequest: canonical.ProviderError,
	http.StatusLocked:             canonical.ProviderError,
	http.StatusFailedDependency:   canonical.ProviderError,
	http.StatusTooEarly:           canonical.ProviderError,
	statusClosedRequest:           canonical.ProviderError,
	http.StatusTooManyRequests:    canonical.ProviderThrottled,
	http.StatusServiceUnavailable: canonical.ProviderUnavailable,
	http.StatusGatewayTimeout:     canonical.ProviderTimeout,
}

// statusClosedRequest is what proxies answer on behalf of a server that they gave up.
const statusClosedRequest = 499

// ByStatus is what a response means as far as its status tells. It never blames the user: not the consent, not the
// token, not the account.
func ByStatus(status int) canonical.Kind {
	if kind, ok := statuses[status]; ok {
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
