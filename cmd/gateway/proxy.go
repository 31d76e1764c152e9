package main

import (
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"ais-gateway/internal/config"
)

// proxyOf says through which proxy a URL of the provider's is called, as the environment has it now; nil for none. Only
// plain HTTP is spoken with a proxy: it is asked for a tunnel, and sees none of what goes through.
func proxyOf(p config.Provider) (func(*url.URL) (*url.URL, error), error) {
	if p.Proxy != config.EnvironmentProxy {
		return nil, nil
	}
	environment := httpproxy.FromEnvironment()
	// What it cannot read it passes over, and calls would go straight.
	there := httpproxy.Config{HTTPSProxy: environment.HTTPSProxy}
	proxy, err := there.ProxyFunc()(&url.URL{Scheme: "https", Host: "provider.invalid"})
	if environment.HTTPSProxy != "" && (err != nil || proxy == nil || proxy.Scheme != "http") {
		return nil, config.Faults{{Path: "proxy", Detail: "requires an http URL in the environment variable HTTPS_PROXY"}}
	}
	return environment.ProxyFunc(), nil
}
