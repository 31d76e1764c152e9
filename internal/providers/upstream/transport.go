package upstream

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"ais-gateway/internal/providers"
)

const (
	maxHeader = 64 << 10 // bytes of a response's header

	// MaxIdleConns is the maximum number of idle connections to a provider.
	MaxIdleConns = 64

	// An HTTP/2 connection is pinged after this time without a frame, and closed without a response
	// within the timeout.
	pingInterval, pingTimeout = 5 * time.Second, 3 * time.Second
)

// attendedTransport returns a transport that reuses connections, and uses HTTP/2 if the provider
// supports it.
func attendedTransport(cfg Config, c providers.ClientConfig) *http.Transport {
	t := newHTTPTransport(cfg, c)
	t.DialContext = reusable(t.DialContext)
	t.ForceAttemptHTTP2 = true
	// Pings detect a dead connection, which would otherwise be used for every call until the kernel
	// notices.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingTimeout}
	t.MaxIdleConnsPerHost = MaxIdleConns
	t.IdleConnTimeout = 90 * time.Second
	return t
}

// unattendedTransport returns a transport that never sends a request twice. It uses HTTP/1.1 only
// and a new connection for each call, because net/http sends a request again if a reused connection
// breaks.
func unattendedTransport(cfg Config, c providers.ClientConfig) *http.Transport {
	t := newHTTPTransport(cfg, c)
	t.DialContext = withSendDeadline(t.DialContext, cfg.Now)
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

func newHTTPTransport(cfg Config, c providers.ClientConfig) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots}
	if c.Certificate != nil {
		conf.Certificates = []tls.Certificate{*c.Certificate}
	}
	return &http.Transport{
		Proxy:                  proxyFunc(cfg.Proxy),
		ProxyConnectHeader:     http.Header{"User-Agent": {""}}, // otherwise net/http adds its own
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    cfg.Timeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// proxyFunc returns the proxy function of an HTTP transport; nil for no proxy. A proxy learns which
// provider is called, so that none is used unless it is configured. If the proxy refuses a tunnel,
// the call has no connection, and nothing was sent to the provider.
func proxyFunc(of func(*url.URL) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if of == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) { return of(r.URL) }
}
