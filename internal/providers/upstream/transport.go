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
	maxHeader = 64 << 10 // bytes of an answer's header

	// MostKept is how many connections to a provider are kept while no call is on them.
	MostKept = 64

	// After how long without a frame an HTTP/2 connection is asked whether it lives, and how long it has to say so.
	pingAfter, pingWithin = 5 * time.Second, 3 * time.Second
)

// attendedTransport keeps connections and speaks HTTP/2 where the provider does.
func attendedTransport(cfg Config, c providers.ClientConfig) *http.Transport {
	t := transport(cfg, c)
	t.DialContext = kept(t.DialContext)
	t.ForceAttemptHTTP2 = true
	// A connection that died in silence is found out, and not given to every call until the kernel notices.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWithin}
	t.MaxIdleConnsPerHost = MostKept
	t.IdleConnTimeout = 90 * time.Second
	return t
}

// unattendedTransport never sends a request twice: HTTP/1.1 only, and a new connection for each call, so that
// there is no reused one whose death would make net/http try again.
func unattendedTransport(cfg Config, c providers.ClientConfig) *http.Transport {
	t := transport(cfg, c)
	t.DialContext = punctually(t.DialContext, cfg.Now)
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

func transport(cfg Config, c providers.ClientConfig) *http.Transport {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots}
	if c.Certificate != nil {
		conf.Certificates = []tls.Certificate{*c.Certificate}
	}
	return &http.Transport{
		Proxy:                  proxied(cfg.Proxy),
		ProxyConnectHeader:     http.Header{"User-Agent": {""}}, // net/http would name itself
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    cfg.Timeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// proxied asks for the proxy of a request by its URL alone. A proxy sees who is asked: there is none unless it is
// configured. A tunnel that it refuses is no connection: nothing has been sent to the provider.
func proxied(of func(*url.URL) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if of == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) { return of(r.URL) }
}
