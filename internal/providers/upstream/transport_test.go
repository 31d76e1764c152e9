package upstream_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// tlsBank starts a TLS server, whose configuration set may change, and counts the requests. Its
// certificate is valid for 127.0.0.1 and *.example.com.
func tlsBank(t *testing.T, set func(*tls.Config)) (s *httptest.Server, roots *x509.CertPool, arrived *atomic.Int32) {
	t.Helper()
	arrived = new(atomic.Int32)
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		arrived.Add(1)
		_, _ = io.WriteString(w, req.Proto)
	}))
	s.TLS = new(tls.Config)
	if set != nil {
		set(s.TLS)
	}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots, arrived
}

// TestProviderCertificate: a provider without TLS 1.2 or with an invalid certificate is not called,
// and the slot is released.
func TestProviderCertificate(t *testing.T) {
	t.Parallel()
	old := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
	for _, tt := range []struct {
		name  string
		set   func(*tls.Config)
		host  string
		wrong bool
	}{
		{name: "TLS 1.3"},
		{name: "TLS 1.2", set: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{name: "TLS 1.1", set: old, wrong: true},
		{name: "another name", host: "localhost", wrong: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, roots, arrived := tlsBank(t, tt.set)
			control := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}}}
			if resp, err := control.Get(s.URL); err != nil {
				t.Fatalf("control: %v", err)
			} else {
				resp.Body.Close()
			}
			arrived.Store(0)
			base := s.URL
			if tt.host != "" {
				base = strings.Replace(base, "127.0.0.1", tt.host, 1)
			}
			r, q := newFixture(t, roots, nil), unattendedQuery()
			for _, q := range []canonical.Query{q, attendedQuery()} {
				if _, err := r.Read(t.Context(), q, post(t, base)); kind(err) == canonical.ProviderUnavailable != tt.wrong || (err != nil) != tt.wrong {
					t.Errorf("attended %t: got %v", q.Attended(), err)
				}
			}
			if n := arrived.Load(); tt.wrong && n != 0 {
				t.Errorf("%d calls arrived", n)
			}
			if tt.wrong {
				checkReleased(t, r, q)
			}
		})
	}
}

// tunnel is a proxy that records its CONNECT requests.
type tunnel struct {
	url *url.URL

	mu       sync.Mutex
	requests []*http.Request
}

// openTunnel starts a proxy that connects every tunnel to address, or calls instead if it is not
// nil.
func startTunnel(t *testing.T, address string, instead func(conn net.Conn)) *tunnel {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tunnel{url: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				p.mu.Lock()
				p.requests = append(p.requests, req)
				p.mu.Unlock()
				if instead != nil {
					instead(conn)
					return
				}
				out, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer out.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
				go func() { defer conn.Close(); _, _ = io.Copy(conn, out) }()
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	return p
}

// via returns a fixture whose calls go through a proxy.
func newProxyFixture(t *testing.T, p *tunnel, roots *x509.CertPool, now func() time.Time) *fixture {
	t.Helper()
	return newProxyFixtureWithTimeout(t, timeout, p, roots, now)
}

func newProxyFixtureWithTimeout(t *testing.T, timeout time.Duration, p *tunnel, roots *x509.CertPool, now func() time.Time) *fixture {
	t.Helper()
	r := newFixture(t, nil, nil)
	transport := upstream.New(upstream.Config{
		Provider: "test", Timeout: timeout, Counter: r.counter, Observer: r, Roots: roots, Now: now,
		Proxy: func(*url.URL) (*url.URL, error) { return p.url, nil },
	})
	r.Client = transport.Client(providers.ClientConfig{ClassifyError: classify})
	return r
}

const proxiedURL = "https://bank.example.com" // only the proxy can resolve it

// TestProxy: calls through a proxy are encrypted end to end: the proxy learns only the address of
// the provider.
func TestProxy(t *testing.T) {
	t.Parallel()
	s, roots, arrived := tlsBank(t, nil)
	p := startTunnel(t, s.Listener.Addr().String(), nil)
	r, q := newProxyFixture(t, p, roots, nil), unattendedQuery()
	for _, tt := range []struct {
		q    canonical.Query
		want string
	}{{attendedQuery(), "HTTP/2.0"}, {q, "HTTP/1.1"}, {q, "HTTP/1.1"}} {
		if answer, err := r.Read(t.Context(), tt.q, post(t, proxiedURL)); err != nil || string(answer.Body) != tt.want {
			t.Errorf("attended %t: %q, %v", tt.q.Attended(), answer.Body, err)
		}
	}
	if n := arrived.Load(); n != 3 || r.used(t, q) != 2 {
		t.Errorf("%d calls arrived, %d are counted", n, r.used(t, q))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) != 3 {
		t.Errorf("%d tunnels, want one for each call", len(p.requests))
	}
	for _, req := range p.requests {
		if req.Method != http.MethodConnect || req.Host != "bank.example.com:443" || len(req.Header) != 0 {
			t.Errorf("the proxy received %s %s %v", req.Method, req.Host, req.Header)
		}
	}
}

// TestProxyWithoutTunnel: without a tunnel to a provider with a valid certificate nothing is sent,
// and the slot is released.
func TestProxyWithoutTunnel(t *testing.T) {
	t.Parallel()
	send := func(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }
	for _, tt := range []struct {
		name    string
		instead func(conn net.Conn)
		gone    bool // the proxy does not listen
	}{
		{name: "refused", instead: send("HTTP/1.1 403 Forbidden\r\n\r\n")},
		{name: "credentials wanted", instead: send("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")},
		{name: "bad gateway", instead: send("HTTP/1.1 502 Bad Gateway\r\n\r\n")},
		{name: "closed", instead: func(net.Conn) {}},
		{name: "reset", instead: reset},
		{name: "no HTTP", instead: send("SSH-2.0\r\n\r\n")},
		{name: "no response", instead: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{name: "a tunnel that ends", instead: send("HTTP/1.1 200 OK\r\n\r\n")},
		{name: "proxy is down", gone: true},
		{name: "another authority's provider"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _, arrived := tlsBank(t, nil)
			p := startTunnel(t, s.Listener.Addr().String(), tt.instead)
			if tt.gone {
				p.url.Host = "127.0.0.1:1"
			}
			has := timeout
			if tt.name == "no response" {
				has = shortTimeout
			}
			r, q := newProxyFixtureWithTimeout(t, has, p, x509.NewCertPool(), nil), unattendedQuery()
			for _, q := range []canonical.Query{q, attendedQuery()} {
				if _, err := r.Read(t.Context(), q, post(t, proxiedURL)); kind(err) != canonical.ProviderUnavailable {
					t.Errorf("attended %t: got %v", q.Attended(), err)
				}
			}
			checkReleased(t, r, q)
			if n := arrived.Load(); n != 0 {
				t.Errorf("%d calls arrived", n)
			}
		})
	}
}

// TestCountedThroughProxy: once the TLS connection through the tunnel is established, the call
// stays counted in every case.
func TestCountedThroughProxy(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		hijack(w).Close()
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := startTunnel(t, s.Listener.Addr().String(), nil)
	r, q := newProxyFixture(t, p, roots, nil), unattendedQuery()
	if _, err := r.Read(t.Context(), q, post(t, proxiedURL)); kind(err) != canonical.ProviderError {
		t.Errorf("got %v", err)
	}
	checkCounted(t, r, q, 1)
}

// TestNotSentAfterDeadlineThroughProxy: nothing is sent after the deadline through a proxy either:
// neither the CONNECT request nor the call.
func TestNotSentAfterDeadlineThroughProxy(t *testing.T) {
	t.Parallel()
	var late atomic.Bool
	now := func() time.Time {
		if late.Load() {
			return time.Now().Add(timeout)
		}
		return time.Now()
	}
	// In TLS 1.2 the server ends the handshake, so that the clock has jumped before the call can be
	// sent.
	s, roots, arrived := tlsBank(t, func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.VerifyConnection = func(tls.ConnectionState) error { late.Store(true); return nil }
	})
	p := startTunnel(t, s.Listener.Addr().String(), nil)
	r, q := newProxyFixture(t, p, roots, now), unattendedQuery()
	if _, err := r.Read(t.Context(), q, post(t, proxiedURL)); kind(err) != canonical.ProviderTimeout {
		t.Errorf("got %v", err)
	}
	checkCounted(t, r, q, 1)

	r, q = newProxyFixture(t, p, roots, now), unattendedQuery()
	if _, err := r.Read(t.Context(), q, post(t, proxiedURL)); kind(err) != canonical.ProviderUnavailable {
		t.Errorf("got %v", err)
	}
	checkReleased(t, r, q)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) != 1 || arrived.Load() != 0 {
		t.Errorf("%d tunnels were requested, %d calls arrived", len(p.requests), arrived.Load())
	}
}
