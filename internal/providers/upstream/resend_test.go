package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// These tests check that an unattended call arrives once, for all behaviours of the bank's
// connections. Most of them have a control that shows that net/http alone sends the same call
// again.

const (
	okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	errorBody  = "Content-Length: 14\r\n\r\nPROVIDER_ERROR"
)

// calls are the possible methods and bodies of a call.
var calls = []struct{ name, method, body string }{
	{"GET", http.MethodGet, ""},
	{"GET with a body", http.MethodGet, `{"a":1}`},
	{"POST", http.MethodPost, `{"a":1}`},
	{"POST without a body", http.MethodPost, ""},
}

// with returns a fixture with the same counter in which only net/http sends calls again.
func (r *fixture) withNetHTTPRetries(roots *x509.CertPool, sign func(*http.Request, []byte) error) *fixture {
	return r.withNetHTTPRetriesAndTimeout(timeout, roots, sign)
}

func (r *fixture) withNetHTTPRetriesAndTimeout(timeout time.Duration, roots *x509.CertPool, sign func(*http.Request, []byte) error) *fixture {
	other := &fixture{counter: r.counter}
	transport := upstream.New(upstream.Config{Provider: "test", Timeout: timeout, Counter: r.counter, Observer: other, Roots: roots}).ExhaustResendAllowance()
	other.Client = transport.Client(providers.ClientConfig{Sign: sign, ClassifyError: classify})
	return other
}

// byItself makes a call several times with net/http alone, which may send it again.
func sendWithNetHTTP(t *testing.T, b *bank, sign func(*http.Request, []byte) error, times int, method, body string) {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: b.roots}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: timeout}
	for range times {
		var sent io.Reader
		if body != "" {
			sent = strings.NewReader(body)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, b.url, sent)
		if err != nil {
			t.Fatal(err)
		}
		if sign != nil && sign(req, []byte(body)) != nil {
			t.Fatal("not signed")
		}
		if resp, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
}

func call(t *testing.T, base, method, body string) providers.Request {
	t.Helper()
	r := post(t, base)
	r.Method, r.Body = method, nil
	if body != "" {
		r.Body = []byte(body)
	}
	return r
}

// bank is a server on bare connections. It counts requests from their first byte.
type bank struct {
	url    string
	roots  *x509.CertPool
	script script

	mu       sync.Mutex
	arrived  []arrival
	offered  []string // by ALPN, by all connections
	open     map[net.Conn]bool
	accepted int // connections
}

// script defines what a bank does. A nil member means the usual behaviour.
type script struct {
	secure       bool
	protocols    []string                                          // by ALPN
	hello        func(conn net.Conn) bool                          // before TLS; false ends the connection
	early        func(conn net.Conn)                               // before the first request
	reply        func(nth int, conn net.Conn, read func()) bool    // from the nth request's first byte on; false ends the connection
	respondHTTP2 func(f *http2.Framer, stream uint32, c io.Closer) // over HTTP/2, instead of a response
	victim       int                                               // the number of the request that gets respondHTTP2
	complete     bool                                              // respondHTTP2 is called after the end of the request, otherwise after its header
}

type arrival struct {
	conn         int
	proto, body  string
	closes, read bool
	header       http.Header
}

func openBank(t *testing.T, s script) *bank {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{url: "http://" + l.Addr().String(), script: s, open: map[net.Conn]bool{}}
	var conf *tls.Config
	if s.secure {
		conf, b.roots = serverTLS()
		conf.NextProtos = s.protocols
		conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.offered = append(b.offered, h.SupportedProtos...)
			return nil, nil
		}
		b.url = "https://" + l.Addr().String()
	}
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		for conn := range b.open {
			conn.Close()
		}
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.accepted++
			n := b.accepted
			b.open[conn] = true
			b.mu.Unlock()
			go b.serve(conn, conf, n)
		}
	}()
	return b
}

// certified returns a server configuration with a certificate for 127.0.0.1 and *.example.com, and
// its CA.
func serverTLS() (*tls.Config, *x509.CertPool) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}

func (b *bank) serve(conn net.Conn, conf *tls.Config, n int) {
	tcp := conn
	defer func() {
		conn.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.open, tcp)
	}()
	if b.script.hello != nil && !b.script.hello(conn) {
		return
	}
	if conf != nil {
		secure := tls.Server(conn, conf)
		if secure.Handshake() != nil {
			return
		}
		conn = secure
		if secure.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS {
			b.serveFrames(conn, n)
			return
		}
	}
	if b.script.early != nil {
		b.script.early(conn)
	}
	in := bufio.NewReader(conn)
	for {
		if _, err := in.Peek(1); err != nil {
			return
		}
		nth := b.arrive(arrival{conn: n, proto: "HTTP/1"})
		read := func() {
			if req, err := http.ReadRequest(in); err == nil {
				body, _ := io.ReadAll(req.Body)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.arrived[nth-1] = arrival{n, req.Proto, string(body), req.Close, true, req.Header}
			}
		}
		if b.script.reply == nil {
			read()
			_, _ = io.WriteString(conn, okResponse)
		} else if !b.script.reply(nth, conn, read) {
			return
		}
	}
}

func (b *bank) serveFrames(conn net.Conn, n int) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	var head bytes.Buffer
	_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	struck := map[uint32]bool{}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		stream, ended := frame.Header().StreamID, frame.Header().Flags.Has(http2.FlagDataEndStream)
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
			continue
		case *http2.MetaHeadersFrame:
			struck[stream] = b.arrive(arrival{conn: n, proto: "HTTP/2", read: true}) == b.script.victim
		case *http2.DataFrame:
		default:
			continue
		}
		_, isHead := frame.(*http2.MetaHeadersFrame)
		switch {
		case struck[stream] && (ended && b.script.complete || isHead && !b.script.complete):
			b.script.respondHTTP2(f, stream, closer(func() error { return conn.(*tls.Conn).CloseWrite() }))
		case ended && !struck[stream]:
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
			_ = f.WriteData(stream, true, []byte("{}"))
		}
	}
}

type closer func() error

func (c closer) Close() error { return c() }

func (b *bank) arrive(a arrival) (nth int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived = append(b.arrived, a)
	return len(b.arrived)
}

// seen returns the requests that arrived, and the number of accepted connections.
func (b *bank) seen() (arrived []arrival, taken int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.arrived), b.accepted
}

// settle waits until all connections are closed. No unattended call leaves one open.
func (b *bank) waitForClose(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		left := len(b.open)
		b.mu.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d connections are open after the calls", left)
			return
		}
	}
}

// once fails the test unless n unattended calls arrived once each, on separate connections, as
// HTTP/1.1 without a header that allows sending again, and stay counted.
func (b *bank) assertArrivedOnce(t *testing.T, r *fixture, q canonical.Query, n int, body string) {
	t.Helper()
	b.waitForClose(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	conns := map[int]bool{}
	for _, a := range b.arrived {
		conns[a.conn] = true
		if !a.read {
			continue // only its first byte was
		}
		if a.proto != "HTTP/1.1" || !a.closes || a.body != body || a.header.Get("Expect") != "" {
			t.Errorf("%+v arrived", a)
		}
	}
	if len(b.arrived) != n || len(conns) != n {
		t.Errorf("%d calls arrived over %d connections, want %d", len(b.arrived), len(conns), n)
	}
	if slices.Contains(b.offered, "h2") {
		t.Errorf("%q was offered by ALPN", b.offered)
	}
	checkCounted(t, r, q, n)
}

// checkCounted fails the test unless n slots were taken and none was released.
func checkCounted(t *testing.T, r *fixture, q canonical.Query, n int) {
	t.Helper()
	if used := r.used(t, q); used != n {
		t.Errorf("%d calls are counted, want %d", used, n)
	}
	if diff := cmp.Diff(slices.Repeat([]upstream.SlotEvent{upstream.SlotTaken}, n), r.slots); diff != "" {
		t.Error(diff)
	}
}

// halfClose closes the connection for writing only.
func halfClose(conn net.Conn) { _ = conn.(interface{ CloseWrite() error }).CloseWrite() }

// reset closes a connection with a TCP reset.
func reset(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// TestHTTP2DoesNotSendAgain: over HTTP/2 net/http sends a call again if the server reports that it
// has not handled it, even a POST. Unattended calls do not use HTTP/2.
func TestHTTP2DoesNotSendAgain(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	for _, tt := range []struct {
		name   string
		victim int
		whole  bool
		strike func(f *http2.Framer, stream uint32, c io.Closer)
		again  bool // what net/http does
	}{
		{name: "GOAWAY below the call", victim: 1, again: true, strike: func(f *http2.Framer, _ uint32, _ io.Closer) {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}},
		{name: "REFUSED_STREAM", victim: 1, again: true, strike: func(f *http2.Framer, stream uint32, _ io.Closer) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}},
		{name: "PROTOCOL_ERROR", victim: 1, again: true, strike: func(f *http2.Framer, stream uint32, _ io.Closer) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeProtocol)
		}},
		{name: "a used connection shuts down", victim: 2, whole: true, again: true, strike: func(f *http2.Framer, stream uint32, c io.Closer) {
			_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
			_ = c.Close()
		}},
		{name: "GOAWAY that names the call, then the end", victim: 1, whole: true, strike: func(f *http2.Framer, stream uint32, c io.Closer) {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			_ = c.Close()
		}},
		{name: "a used connection ends", victim: 2, whole: true, strike: func(_ *http2.Framer, _ uint32, c io.Closer) { _ = c.Close() }},
	} {
		s := script{secure: true, protocols: []string{"h2", "http/1.1"}, respondHTTP2: tt.strike, victim: tt.victim, complete: tt.whole}
		for _, c := range calls {
			t.Run(tt.name+"/"+c.name, func(t *testing.T) {
				control, want := openBank(t, s), tt.victim
				if tt.again {
					want++
				}
				sendWithNetHTTP(t, control, nil, tt.victim, c.method, c.body)
				if got, _ := control.seen(); len(got) != want || got[0].proto != "HTTP/2" {
					t.Errorf("control: %+v arrived, want %d", got, want)
				}

				b := openBank(t, s)
				r, q := shared.withNetHTTPRetries(b.roots, nil), attendedQuery()
				for range tt.victim {
					_, _ = r.Read(t.Context(), q, call(t, b.url, c.method, c.body))
				}
				if got, _ := b.seen(); len(got) != tt.victim || got[0].proto != "HTTP/2" {
					t.Errorf("attended, without an allowance: %+v arrived, want %d", got, tt.victim)
				}

				b = openBank(t, s)
				r, q = shared.withNetHTTPRetries(b.roots, nil), unattendedQuery()
				for range tt.victim {
					if _, err := r.Read(t.Context(), q, call(t, b.url, c.method, c.body)); err != nil {
						t.Error(err)
					}
				}
				b.assertArrivedOnce(t, r, q, tt.victim, c.body)
			})
		}
	}
}

// TestLostConnectionDoesNotSendAgain: when a reused connection is lost, net/http sends a GET again,
// and any call with an Idempotency-Key. An unattended call never uses a reused connection.
func TestLostConnectionDoesNotSendAgain(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	keyed := func(r *http.Request, _ []byte) error {
		r.Header["Idempotency-Key"], r.Header["X-Idempotency-Key"] = []string{"1"}, []string{"1"}
		return nil
	}
	for _, end := range []struct {
		name string
		do   func(conn net.Conn, read func()) bool
	}{
		{"read and closed", func(_ net.Conn, read func()) bool { read(); return false }},
		{"read and closed on one side", func(conn net.Conn, read func()) bool { read(); halfClose(conn); return true }},
		{"read and reset", func(conn net.Conn, read func()) bool { read(); reset(conn); return false }},
		{"closed at the first byte", func(net.Conn, func()) bool { return false }},
		{"reset at the first byte", func(conn net.Conn, _ func()) bool { reset(conn); return false }},
	} {
		for _, secure := range []bool{false, true} {
			s := script{secure: secure, reply: func(nth int, conn net.Conn, read func()) bool {
				if nth == 2 {
					return end.do(conn, read)
				}
				read()
				_, _ = io.WriteString(conn, okResponse)
				return true
			}}
			for _, c := range []struct {
				name, method, body string
				sign               func(*http.Request, []byte) error
				again              bool // what net/http does
			}{
				{"GET", http.MethodGet, "", nil, true},
				{"GET with a body", http.MethodGet, `{"a":1}`, nil, true},
				{"POST", http.MethodPost, `{"a":1}`, nil, false},
				{"POST without a body", http.MethodPost, "", nil, false},
				{"POST under a key", http.MethodPost, `{"a":1}`, keyed, true},
				{"POST without a body under a key", http.MethodPost, "", keyed, true},
			} {
				t.Run(end.name+"/"+c.name+map[bool]string{true: ", TLS"}[secure], func(t *testing.T) {
					control, want := openBank(t, s), 2
					if c.again {
						want++
					}
					sendWithNetHTTP(t, control, c.sign, 2, c.method, c.body)
					if got, _ := control.seen(); len(got) != want || got[1].conn != 1 {
						t.Errorf("control: %+v arrived, want %d", got, want)
					}

					b := openBank(t, s)
					r, q := shared.withNetHTTPRetries(b.roots, c.sign), attendedQuery()
					for range 2 {
						_, _ = r.Read(t.Context(), q, call(t, b.url, c.method, c.body))
					}
					if got, _ := b.seen(); len(got) != 2 || got[1].conn != 1 {
						t.Errorf("attended, without an allowance: %+v arrived, want 2", got)
					}

					b = openBank(t, s)
					r, q = shared.withNetHTTPRetries(b.roots, c.sign), unattendedQuery()
					if c.sign != nil { // an adapter that would have it sent again sends nothing
						_, err := r.Read(t.Context(), q, call(t, b.url, c.method, c.body))
						if got, _ := b.seen(); kind(err) != canonical.InternalError || len(got) != 0 || r.used(t, q) != 0 {
							t.Errorf("%v, %+v arrived, %d counted", err, got, r.used(t, q))
						}
						return
					}
					for i := range 3 {
						_, err := r.Read(t.Context(), q, call(t, b.url, c.method, c.body))
						if want := map[int]canonical.Kind{1: canonical.ProviderError}[i]; kind(err) != want {
							t.Errorf("call %d: %v", i+1, err)
						}
					}
					b.assertArrivedOnce(t, r, q, 3, c.body)
				})
			}
		}
	}
}

// TestIdleConnectionClosesDuringSend: a server may close an idle connection while a request
// arrives. net/http's client then sends a GET again that had arrived.
func TestIdleConnectionClosesDuringSend(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	leaving := make(chan bool)
	control := openBank(t, script{reply: func(nth int, conn net.Conn, read func()) bool {
		read()
		_, _ = io.WriteString(conn, okResponse)
		if nth == 1 {
			<-leaving
			halfClose(conn)
		}
		return true
	}})
	var written atomic.Int64
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &watched{conn, func() {
			if written.Add(1) == 2 {
				close(leaving)
			}
		}}, err
	}}}
	for range 2 {
		resp, err := client.Get(control.url)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	client.CloseIdleConnections()
	control.waitForClose(t)
	if got, taken := control.seen(); len(got) != 3 || taken != 2 {
		t.Errorf("control: %+v arrived over %d connections, want 3 over 2", got, taken)
	}

	for _, tt := range []struct {
		name  string
		early func(net.Conn)
	}{
		{"closed on one side", halfClose},
		{"reset", reset},
		{"408", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"+errorBody)
			halfClose(conn)
		}},
	} {
		for _, c := range calls {
			t.Run(tt.name+"/"+c.name, func(t *testing.T) {
				// The new connection is closed while the call is sent or before: the call arrives
				// once or not at all.
				b := openBank(t, script{secure: true, early: tt.early, reply: func(_ int, _ net.Conn, read func()) bool { read(); return true }})
				r, q := shared.withNetHTTPRetries(b.roots, nil), unattendedQuery()
				for range 3 {
					if _, err := r.Read(t.Context(), q, call(t, b.url, c.method, c.body)); kind(err) != canonical.ProviderError {
						t.Error(err)
					}
				}
				b.waitForClose(t)
				if got, taken := b.seen(); taken != 3 || len(got) > 3 {
					t.Errorf("%+v arrived over %d connections", got, taken)
				}
				checkCounted(t, r, q, 3)
			})
		}
	}
}

// watched is a connection that reports each write.
type watched struct {
	net.Conn
	wrote func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.wrote()
	return n, err
}

// TestNoResponseSendsAgain: no response, complete or partial, makes a call be sent again.
func TestNoResponseSendsAgain(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	elsewhere := "Location: /elsewhere\r\nConnection: close\r\n" + errorBody
	for _, tt := range []struct {
		name, answer string
		kind         canonical.Kind
		again        bool // what http.Client does
	}{
		{"103 first", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okResponse, "", false},
		{"100 first", "HTTP/1.1 100 Continue\r\n\r\n" + okResponse, "", false},
		{"many first", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n", 5) + okResponse, "", false},
		{"103 and nothing more", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", canonical.ProviderError, false},
		{"408", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n" + errorBody, canonical.ProviderError, false},
		{"417", "HTTP/1.1 417 Expectation Failed\r\n" + errorBody, canonical.ProviderError, false},
		{"421", "HTTP/1.1 421 Misdirected Request\r\n" + errorBody, canonical.ProviderError, false},
		{"425", "HTTP/1.1 425 Too Early\r\n" + errorBody, canonical.ProviderError, false},
		{"401 with a challenge", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n" + errorBody, canonical.ProviderError, false},
		{"429 without a wait", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\n" + errorBody, canonical.ProviderError, false},
		{"502", "HTTP/1.1 502 Bad Gateway\r\n" + errorBody, canonical.ProviderError, false},
		{"503 without a wait", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n" + errorBody, canonical.ProviderError, false},
		{"504", "HTTP/1.1 504 Gateway Timeout\r\n" + errorBody, canonical.ProviderError, false},
		{"426 for HTTP/2", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2\r\nConnection: Upgrade\r\n" + errorBody, canonical.ProviderError, false},
		{"200 with Alt-Svc", strings.Replace(okResponse, "OK\r\n", "OK\r\nAlt-Svc: h2=\":443\"\r\n", 1), "", false},
		{"301", "HTTP/1.1 301 Moved Permanently\r\n" + elsewhere, canonical.ProviderError, true},
		{"302", "HTTP/1.1 302 Found\r\n" + elsewhere, canonical.ProviderError, true},
		{"303", "HTTP/1.1 303 See Other\r\n" + elsewhere, canonical.ProviderError, true},
		{"307", "HTTP/1.1 307 Temporary Redirect\r\n" + elsewhere, canonical.ProviderError, true},
		{"308", "HTTP/1.1 308 Permanent Redirect\r\n" + elsewhere, canonical.ProviderError, true},
		{"HTTP/2 without negotiation", "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x08\x07\x00\x00\x00\x00\x00" +
			"\x00\x00\x00\x00\x00\x00\x00\x00", canonical.ProviderInvalidResponse, false},
		{"nothing", "", canonical.ProviderError, false},
		{"cut in the status", "HTTP/1.", canonical.ProviderInvalidResponse, false},
		{"cut in a header", okResponse[:30], canonical.ProviderInvalidResponse, false},
		{"cut between headers", okResponse[:len(okResponse)-4], canonical.ProviderError, false},
		{"cut after the headers", okResponse[:len(okResponse)-2], canonical.ProviderError, false},
		{"cut in the body", okResponse[:len(okResponse)-1], canonical.ProviderError, false},
		{"cut in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", canonical.ProviderError, false},
		{"cut before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", canonical.ProviderError, false},
	} {
		s := script{reply: func(nth int, conn net.Conn, read func()) bool {
			read()
			if nth > 1 {
				_, _ = io.WriteString(conn, okResponse)
				return true
			}
			_, _ = io.WriteString(conn, tt.answer)
			halfClose(conn)
			return true
		}}
		for _, c := range calls {
			t.Run(tt.name+"/"+c.name, func(t *testing.T) {
				control, want := openBank(t, s), 1
				req, err := http.NewRequestWithContext(t.Context(), c.method, control.url, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				client := &http.Client{Timeout: timeout, Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				if resp, err := client.Do(req); err == nil {
					resp.Body.Close()
				}
				if tt.again {
					want++
				}
				if got, _ := control.seen(); len(got) != want {
					t.Errorf("control: %+v arrived, want %d", got, want)
				}

				b := openBank(t, s)
				r, q := shared.withNetHTTPRetries(nil, nil), unattendedQuery()
				if _, err := r.Read(t.Context(), q, call(t, b.url, c.method, c.body)); kind(err) != tt.kind {
					t.Errorf("got %v, want %s", err, tt.kind)
				}
				b.assertArrivedOnce(t, r, q, 1, c.body)
			})
		}
	}
}

// TestNetHTTPCannotResend: nothing in a call allows net/http to send it again.
func TestNetHTTPCannotResend(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	b := openBank(t, script{})
	for _, c := range calls {
		var body bool
		r := shared.withNetHTTPRetries(nil, func(req *http.Request, _ []byte) error { body = req.GetBody != nil; return nil })
		if _, err := r.Read(t.Context(), attendedQuery(), call(t, b.url, c.method, c.body)); err != nil || body != (c.body != "") {
			t.Errorf("control, %s: GetBody is set: %t, %v", c.name, body, err)
		}
		if _, err := r.Read(t.Context(), unattendedQuery(), call(t, b.url, c.method, c.body)); err != nil || body {
			t.Errorf("%s: GetBody is set: %t, %v", c.name, body, err)
		}
	}
	arrived, _ := b.seen()
	if len(arrived) != 2*len(calls) {
		t.Errorf("%d arrived", len(arrived))
	}
	for _, a := range arrived {
		for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "Expect", "Upgrade"} {
			if len(a.header.Values(name)) > 0 {
				t.Errorf("%s was sent", name)
			}
		}
	}
}

// TestReleasedWithoutConnection: the slot of a call that fails before it has a connection is
// released, and nothing of the call arrived.
func TestReleasedWithoutConnection(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	vouched := func(b *bank) *x509.CertPool { return b.roots }
	for _, tt := range []struct {
		name   string
		s      script
		roots  func(b *bank) *x509.CertPool
		host   string
		late   bool          // the bank completes the handshake only after the read
		within time.Duration // the timeout of the read
		leave  bool          // the caller leaves during the handshake
	}{
		{name: "another authority", roots: func(*bank) *x509.CertPool { return x509.NewCertPool() }},
		{name: "another name", roots: vouched, host: "localhost"},
		{name: "closed immediately", roots: vouched, s: script{hello: func(net.Conn) bool { return false }}},
		{name: "reset immediately", roots: vouched, s: script{hello: func(conn net.Conn) bool { reset(conn); return false }}},
		{name: "closed in the handshake", roots: vouched, s: script{hello: func(conn net.Conn) bool {
			_, _ = conn.Read(make([]byte, 1<<14))
			return false
		}}},
		{name: "an alert", roots: vouched, s: script{hello: func(conn net.Conn) bool {
			_, _ = conn.Read(make([]byte, 1<<14))
			_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			return false
		}}},
		{name: "handshake too late", roots: vouched, late: true},
		{name: "handshake too late for the read", roots: vouched, late: true, within: shortTimeout},
		{name: "handshake too late, and the caller has left", roots: vouched, late: true, leave: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.within == 0 {
				tt.within = 2 * timeout
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			over, has := make(chan bool), timeout
			if tt.s.secure = true; tt.late {
				tt.s.hello = func(net.Conn) bool {
					if tt.leave {
						cancel()
					}
					<-over
					return true
				}
				has = shortTimeout
			}
			b := openBank(t, tt.s)
			r, q := shared.withNetHTTPRetriesAndTimeout(has, tt.roots(b), nil), unattendedQuery()
			if tt.host != "" {
				b.url = strings.Replace(b.url, "127.0.0.1", tt.host, 1)
			}
			if _, err := r.Read(ctx, q, post(t, b.url)); kind(err) != canonical.ProviderUnavailable {
				t.Errorf("got %v", err)
			}
			close(over)
			checkReleased(t, r, q)
			b.waitForClose(t)
			if got, taken := b.seen(); len(got) != 0 || taken != 1 {
				t.Errorf("%+v arrived over %d connections", got, taken)
			}
		})
	}
}

// checkReleased fails the test unless one slot was taken and released.
func checkReleased(t *testing.T, r *fixture, q canonical.Query) {
	t.Helper()
	if used := r.used(t, q); used != 0 {
		t.Errorf("%d calls are counted", used)
	}
	if diff := cmp.Diff([]upstream.SlotEvent{upstream.SlotTaken, upstream.SlotReleased}, r.slots); diff != "" {
		t.Error(diff)
	}
}

// TestCountedWithConnection: once a call has a connection it stays counted, whether the bank has
// read any of it or not.
func TestCountedWithConnection(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	unread := func(net.Conn) { <-over }
	for _, tt := range []struct {
		name  string
		s     script
		size  int
		kind  canonical.Kind
		leave bool
	}{
		{name: "reset before it was read", kind: canonical.ProviderError, s: script{early: func(conn net.Conn) {
			waitForData(conn)
			reset(conn)
		}}},
		{name: "closed before it was read", kind: canonical.ProviderError, s: script{early: func(conn net.Conn) {
			waitForData(conn)
			conn.Close()
		}}},
		{name: "never read", kind: canonical.ProviderTimeout, s: script{early: unread}},
		{name: "never read, too large to leave", kind: canonical.ProviderTimeout, s: script{early: unread}, size: 8 << 20},
		{name: "the caller leaves in the handshake", s: script{secure: true}, leave: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			has := timeout
			switch {
			case tt.leave:
				tt.s.hello = func(net.Conn) bool { cancel(); return true }
			case tt.kind == canonical.ProviderTimeout:
				has = shortTimeout
			}
			b := openBank(t, tt.s)
			r, q := shared.withNetHTTPRetriesAndTimeout(has, b.roots, nil), unattendedQuery()
			req := post(t, b.url)
			if tt.size > 0 {
				req.Body = make([]byte, tt.size)
			}
			if _, err := r.Read(ctx, q, req); kind(err) != tt.kind {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
			if tt.leave && ctx.Err() == nil {
				t.Error("the caller is still there")
			}
			checkCounted(t, r, q, 1)
			if got, taken := b.seen(); len(got) > 1 || taken != 1 || tt.kind == "" && len(got) != 1 {
				t.Errorf("%+v arrived over %d connections", got, taken)
			}
		})
	}
}

// reached waits until data has arrived at a connection, and does not read it.
func waitForData(conn net.Conn) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		panic(err)
	}
	_ = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
}

// TestNameWithSeveralAddresses: a host name with several addresses gets one call: the next address
// is used if no connection could be made, not if one was lost.
func TestNameWithSeveralAddresses(t *testing.T) {
	t.Parallel()
	shared := newFixture(t, nil, nil)
	b := bankRefusingAt(t, net.IPv4(127, 0, 0, 2))
	lost := openBank(t, script{reply: func(_ int, _ net.Conn, read func()) bool { read(); return false }})
	closed := refusedURL(t)
	for _, tt := range []struct {
		name, host string
		bank       *bank // nil if no address listens
		kind       canonical.Kind
		dialled    []string // nil if the order depends on the machine
	}{
		{name: "the first refuses", host: "second", bank: b, dialled: []string{"127.0.0.2", "127.0.0.1"}},
		{name: "the first accepts", host: "first", bank: b, dialled: []string{"127.0.0.1"}},
		{name: "that of IPv6 refuses", host: "both", bank: b},
		{name: "the first loses it", host: "first", bank: lost, kind: canonical.ProviderError, dialled: []string{"127.0.0.1"}},
		{name: "all refuse", host: "second", kind: canonical.ProviderUnavailable, dialled: []string{"127.0.0.2", "127.0.0.1"}},
		{name: "the name has no address", host: "none", kind: canonical.ProviderUnavailable, dialled: []string{}},
		{name: "the name server does not respond", host: "mute", kind: canonical.ProviderUnavailable, dialled: []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before []arrival
			base := closed
			if tt.bank != nil {
				base = tt.bank.url
				before, _ = tt.bank.seen()
			}
			base = strings.Replace(base, "127.0.0.1", tt.host+".example.com", 1)
			var mu sync.Mutex
			dialled := []string{}
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{ConnectStart: func(_, address string) {
				mu.Lock()
				defer mu.Unlock()
				host, _, _ := net.SplitHostPort(address)
				dialled = append(dialled, host)
			}})
			has := timeout
			if tt.host == "mute" {
				has = shortTimeout
			}
			r, q := shared.withNetHTTPRetriesAndTimeout(has, nil, nil), unattendedQuery()
			if _, err := r.Read(ctx, q, post(t, base)); kind(err) != tt.kind {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(tt.dialled, dialled); tt.dialled != nil && diff != "" {
				t.Error(diff)
			}
			if tt.bank == nil {
				checkReleased(t, r, q)
				return
			}
			checkCounted(t, r, q, 1)
			tt.bank.waitForClose(t)
			if got, _ := tt.bank.seen(); len(got) != len(before)+1 {
				t.Errorf("%d calls arrived", len(got)-len(before))
			}
		})
	}
}

// refusing returns the base URL of an address that refuses connections. A connection occupies its
// port, so that no program can listen on it.
func refusedURL(t *testing.T) string {
	t.Helper()
	anywhere := httptest.NewServer(nil)
	t.Cleanup(anywhere.Close)
	conn, err := net.Dial("tcp", anywhere.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return "http://" + conn.LocalAddr().String()
}

// refusesAt opens a bank whose port refuses connections at another address. A connection occupies
// the port there, so that no other program can listen on it.
func bankRefusingAt(t *testing.T, other net.IP) *bank {
	t.Helper()
	anywhere := httptest.NewServer(nil)
	t.Cleanup(anywhere.Close)
	for range 100 {
		b := openBank(t, script{})
		port, err := strconv.Atoi(b.url[strings.LastIndex(b.url, ":")+1:])
		if err != nil {
			t.Fatal(err)
		}
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: other, Port: port}}
		if conn, err := dialer.DialContext(t.Context(), "tcp", anywhere.Listener.Addr().String()); err == nil {
			t.Cleanup(func() { conn.Close() })
			return b
		}
	}
	t.Fatalf("no port is free at %v", other)
	return nil
}

// names are the host names of the tests' name server. It never responds for a name without
// addresses.
var names = func() map[string][]dnsmessage.ResourceBody {
	one, two := &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}, &dnsmessage.AResource{A: [4]byte{127, 0, 0, 2}}
	return map[string][]dnsmessage.ResourceBody{
		"second.example.com.": {two, one}, // no server listens at 127.0.0.2
		"first.example.com.":  {one, two},
		"both.example.com.":   {&dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}, one},
		"none.example.com.":   {},
		"mute.example.com.":   nil,
	}
}()

// TestMain sets a name server for the tests. It must do so before the first dial, because the
// resolver is global.
func TestMain(m *testing.M) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
	go func() {
		for {
			buffer := make([]byte, 1<<12)
			n, from, err := l.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := resolve(buffer[:n]); err == nil {
				_, _ = l.WriteTo(answer, from)
			}
		}
	}()
	os.Exit(m.Run())
}

func resolve(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	bodies, known := names[q.Name.String()]
	if known && bodies == nil {
		return nil, errors.New("no response for this name")
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range bodies {
		_, isA := body.(*dnsmessage.AResource)
		if isA && q.Type == dnsmessage.TypeA || !isA && q.Type == dnsmessage.TypeAAAA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}, Body: body,
			})
		}
	}
	return m.Pack()
}
