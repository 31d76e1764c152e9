package upstream_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestResponsesAreNotMixedUp: surplus bytes of a provider are never read as a response: each call
// gets its own response, although connections are reused. Without waitUntilIdle, some in a hundred
// calls get the response to another one.
func TestResponsesAreNotMixedUp(t *testing.T) {
	t.Parallel()
	const callers = 32
	for secure, calls := range map[bool]int{false: 100, true: 10} { // with TLS each costs a handshake
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
			base, roots := serveRaw(t, secure, func(conn net.Conn, body string) {
				one := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				_, _ = io.WriteString(conn, one+one)
			})
			r := newFixture(t, roots, nil)
			var foreign, lost atomic.Int64
			var done sync.WaitGroup
			for caller := range callers {
				done.Go(func() {
					for i := range calls {
						req := post(t, base)
						req.Body = fmt.Appendf(nil, "%d-%d", caller, i)
						switch answer, err := r.Client.Read(t.Context(), attendedQuery(), req); {
						case err != nil:
							lost.Add(1)
						case string(answer.Body) != string(req.Body):
							foreign.Add(1)
						}
					}
				})
			}
			done.Wait()
			if foreign.Load() != 0 || lost.Load() > callers {
				t.Errorf("%d calls got the response to another call, %d got none", foreign.Load(), lost.Load())
			}
		})
	}
}

// TestConnectionsAreReused: connections without surplus bytes are reused.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var conns sync.Map
		base, roots := serveRaw(t, secure, func(conn net.Conn, body string) {
			conns.Store(conn, true)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		})
		r := newFixture(t, roots, nil)
		for range 50 {
			if _, err := r.Read(t.Context(), attendedQuery(), post(t, base)); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		conns.Range(func(any, any) bool { n++; return true })
		if n > 3 {
			t.Errorf("TLS %t: 50 calls took %d connections", secure, n)
		}
	}
}

// TestLateSurplus: a late surplus response is not read as a response: not between two calls, and
// not after the next call got its connection and before it is written, which is when net/http would
// accept it.
func TestLateSurplus(t *testing.T) {
	t.Parallel()
	for _, leaving := range []bool{false, true} {
		t.Run(map[bool]string{false: "between calls", true: "before the next leaves"}[leaving], func(t *testing.T) {
			spill, ended := make(chan bool), make(chan bool, 10)
			defer close(spill)
			base, _ := serveRaw(t, false, func(conn net.Conn, body string) {
				one := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				_, _ = io.WriteString(conn, one)
				<-spill
				_, _ = io.WriteString(conn, one)
				_, err := conn.Read(make([]byte, 1))
				ended <- err != nil
			})
			surplus := func() { // sends the surplus response and waits until the connection closes
				spill <- true
				select {
				case <-ended:
				case <-time.After(time.Minute):
					t.Error("the connection stays open")
				}
			}
			r := newFixture(t, nil, nil)
			for i := range 10 {
				ctx := t.Context()
				if late := sync.OnceFunc(surplus); leaving && i > 0 { // a header's field is written to net/http's buffer first
					ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(string, []string) { late() }})
				}
				req := post(t, base)
				req.Body = fmt.Append(nil, i)
				if answer, err := r.Read(ctx, attendedQuery(), req); err != nil || string(answer.Body) != string(req.Body) {
					t.Fatalf("call %d: %q, %v", i, answer.Body, err)
				}
				if !leaving {
					surplus()
				}
			}
		})
	}
}

// serveRaw serves HTTP/1.1 on TCP or TLS connections: answer writes the response to a request's
// body.
func serveRaw(t *testing.T, secure bool, answer func(conn net.Conn, body string)) (base string, roots *x509.CertPool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base = "http://" + l.Addr().String()
	if secure {
		s := httptest.NewTLSServer(nil) // for its certificate
		defer s.Close()
		roots = x509.NewCertPool()
		roots.AddCert(s.Certificate())
		l = tls.NewListener(l, &tls.Config{Certificates: s.TLS.Certificates})
		base = "https://" + l.Addr().String()
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				read := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(read)
					if err != nil {
						return
					}
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return
					}
					answer(conn, string(body))
				}
			}()
		}
	}()
	return base, roots
}
