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

// tlsBank answers over TLS as it is set up, and says how many requests have come. Its certificate is for 127.0.0.1 and
// for names below example.com.
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

// A provider that speaks no TLS 1.2, or shows another's certificate, is not called; the slot is given back.
func TestProviderMustShowItself(t *testing.T) {
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
			r, q := newRig(t, roots, nil), alone()
			for _, q := range []canonical.Query{q, attended()} {
				if _, err := r.Read(t.Context(), q, post(t, base)); kind(err) == canonical.ProviderUnavailable != tt.wrong || (err != nil) != tt.wrong {
					t.Errorf("attended %t: got %v", q.Attended(), err)
				}
			}
			if n := arrived.Load(); tt.wrong && n != 0 {
				t.Errorf("%d calls arrived", n)
			}
			if tt.wrong {
				givenBack(t, r, q)
			}
		})
	}
}

// A tunnel is a proxy, and what it has been asked.
type tunnel struct {
	url *url.URL

	mu    sync.Mutex
	asked []*http.Request
}

// openTunnel runs a proxy that leads to address, whatever it is asked for, unless in stead of that it does something else.
func openTunnel(t *testing.T, address string, instead func(conn net.Conn)) *tunnel {
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
				p.asked = append(p.asked, req)
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

// via is a rig whose calls go through a proxy.
func via(t *testing.T, p *tunnel, roots *x509.CertPool, now func() time.Time) *rig {
	t.Helper()
	return viaWithin(t, timeout, p, roots, now)
}

func viaWithin(t *testing.T, timeout time.Duration, p *tunnel, roots *x509.CertPool, now func() time.Time) *rig {
	t.Helper()
	r := newRig(t, nil, nil)
	wire := upstream.New(upstream.Config{
		Provider: "test", Timeout: timeout, Counter: r.counter, Observer: r, Roots: roots, Now: now,
		Proxy: func(*url.URL) (*url.URL, error) { return p.url, nil },
	})
	r.Client = wire.Client(providers.ClientConfig{ClassifyError: refusal})
	return r
}

const named = "https://bank.example.com" // which only the proxy knows

// Through a proxy a call goes as it does without one, end to end: it sees whom is called, and nothing else.
func TestProxy(t *testing.T) {
	t.Parallel()
	s, roots, arrived := tlsBank(t, nil)
	p := openTunnel(t, s.Listener.Addr().String(), nil)
	r, q := via(t, p, roots, nil), alone()
	for _, tt := range []struct {
		q    canonical.Query
		want string
	}{{attended(), "HTTP/2.0"}, {q, "HTTP/1.1"}, {q, "HTTP/1.1"}} {
		if answer, err := r.Read(t.Context(), tt.q, post(t, named)); err != nil || string(answer.Body) != tt.want {
			t.Errorf("attended %t: %q, %v", tt.q.Attended(), answer.Body, err)
		}
	}
	if n := arrived.Load(); n != 3 || r.used(t, q) != 2 {
		t.Errorf("%d calls arrived, %d are counted", n, r.used(t, q))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != 3 {
		t.Errorf("%d tunnels, want one for each call", len(p.asked))
	}
	for _, req := range p.asked {
		if req.Method != http.MethodConnect || req.Host != "bank.example.com:443" || len(req.Header) != 0 {
			t.Errorf("the proxy was asked %s %s %v", req.Method, req.Host, req.Header)
		}
	}
}

// While the proxy gives no tunnel to a provider that shows itself, nothing is sent: the slot is given back.
func TestProxyWithoutTunnel(t *testing.T) {
	t.Parallel()
	say := func(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }
	for _, tt := range []struct {
		name    string
		instead func(conn net.Conn)
		gone    bool // nobody listens
	}{
		{name: "refused", instead: say("HTTP/1.1 403 Forbidden\r\n\r\n")},
		{name: "credentials wanted", instead: say("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")},
		{name: "bad gateway", instead: say("HTTP/1.1 502 Bad Gateway\r\n\r\n")},
		{name: "closed", instead: func(net.Conn) {}},
		{name: "reset", instead: reset},
		{name: "no HTTP", instead: say("SSH-2.0\r\n\r\n")},
		{name: "silent", instead: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{name: "a tunnel that ends", instead: say("HTTP/1.1 200 OK\r\n\r\n")},
		{name: "nobody there", gone: true},
		{name: "another authority's provider"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _, arrived := tlsBank(t, nil)
			p := openTunnel(t, s.Listener.Addr().String(), tt.instead)
			if tt.gone {
				p.url.Host = "127.0.0.1:1"
			}
			has := timeout
			if tt.name == "silent" {
				has = hasty
			}
			r, q := viaWithin(t, has, p, x509.NewCertPool(), nil), alone()
			for _, q := range []canonical.Query{q, attended()} {
				if _, err := r.Read(t.Context(), q, post(t, named)); kind(err) != canonical.ProviderUnavailable {
					t.Errorf("attended %t: got %v", q.Attended(), err)
				}
			}
			givenBack(t, r, q)
			if n := arrived.Load(); n != 0 {
				t.Errorf("%d calls arrived", n)
			}
		})
	}
}

// Once the tunnel stands and the provider has shown itself, the call is counted, whatever becomes of it.
func TestCountedThroughAProxy(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		hijack(w).Close()
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := openTunnel(t, s.Listener.Addr().String(), nil)
	r, q := via(t, p, roots, nil), alone()
	if _, err := r.Read(t.Context(), q, post(t, named)); kind(err) != canonical.ProviderError {
		t.Errorf("got %v", err)
	}
	counted(t, r, q, 1)
}

// Nothing leaves too late through a proxy either: not the asking for a tunnel, and not the call through it.
func TestNothingLeavesTooLateThroughAProxy(t *testing.T) {
	t.Parallel()
	var late atomic.Bool
	now := func() time.Time {
		if late.Load() {
			return time.Now().Add(timeout)
		}
		return time.Now()
	}
	// In TLS 1.2 the bank has the last word of the handshake: the clock has jumped before the call can leave.
	s, roots, arrived := tlsBank(t, func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.VerifyConnection = func(tls.ConnectionState) error { late.Store(true); return nil }
	})
	p := openTunnel(t, s.Listener.Addr().String(), nil)
	r, q := via(t, p, roots, now), alone()
	if _, err := r.Read(t.Context(), q, post(t, named)); kind(err) != canonical.ProviderTimeout {
		t.Errorf("got %v", err)
	}
	counted(t, r, q, 1)

	r, q = via(t, p, roots, now), alone()
	if _, err := r.Read(t.Context(), q, post(t, named)); kind(err) != canonical.ProviderUnavailable {
		t.Errorf("got %v", err)
	}
	givenBack(t, r, q)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != 1 || arrived.Load() != 0 {
		t.Errorf("%d tunnels were asked for, %d calls arrived", len(p.asked), arrived.Load())
	}
}
