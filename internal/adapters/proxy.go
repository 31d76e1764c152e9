package adapters

import (
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"ais-gateway/internal/config"
)

// proxyOf returns the function that chooses the proxy of a call to a provider from the environment,
// or nil if the configuration does not want one. Only proxies with an http URL are accepted: the
// gateway opens a tunnel through the proxy, which does not see the content. For any other URL it
// returns config.Faults.
func proxyOf(p config.Provider) (func(*url.URL) (*url.URL, error), error) {
	if p.Proxy != config.EnvironmentProxy {
		return nil, nil
	}
	environment := httpproxy.FromEnvironment()
	// httpproxy ignores a value that it cannot parse, and calls would bypass the proxy.
	httpsOnly := httpproxy.Config{HTTPSProxy: environment.HTTPSProxy}
	proxy, err := httpsOnly.ProxyFunc()(&url.URL{Scheme: "https", Host: "provider.invalid"})
	if environment.HTTPSProxy != "" && (err != nil || proxy == nil || proxy.Scheme != "http") {
		return nil, config.Faults{{Path: "proxy", Detail: "requires an http URL in the environment variable HTTPS_PROXY"}}
	}
	return environment.ProxyFunc(), nil
}
