package upstream_test

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// first applies strike to the first request and responds to all others.
func first(strike func(conn net.Conn, read func())) script {
	return script{reply: func(nth int, conn net.Conn, read func()) bool {
		if nth == 1 {
			strike(conn, read)
			return false
		}
		read()
		_, _ = io.WriteString(conn, okResponse)
		return true
	}}
}

func secure(s script) script {
	s.secure = true
	return s
}

// breaks are the ways in which a connection is lost before the first byte of a response.
func lostConnections() map[string]script {
	return map[string]script{
		"closed":                     first(func(_ net.Conn, read func()) { read() }),
		"reset":                      first(func(conn net.Conn, read func()) { read(); reset(conn) }),
		"closed at its first byte":   first(func(net.Conn, func()) {}),
		"reset at its first byte":    first(func(conn net.Conn, _ func()) { reset(conn) }),
		"closed, TLS":                secure(first(func(_ net.Conn, read func()) { read() })),
		"reset in the TLS handshake": {secure: true, hello: closeFirst()},
	}
}

// once closes the first connection before its TLS handshake.
func closeFirst() func(net.Conn) bool {
	struck := false
	return func(conn net.Conn) bool {
		if struck {
			return true
		}
		struck = true
		reset(conn)
		return false
	}
}

// resends returns Call.Resend of each observed call.
func (e *events) resends() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []int
	for _, c := range e.calls {
		all = append(all, c.Resend)
	}
	return all
}

// TestAttendedCallIsRetriedOnce: an attended call whose connection is lost before a response is
// sent once more, with a new signature and the same request id.
func TestAttendedCallIsRetriedOnce(t *testing.T) {
	t.Parallel()
	for name, s := range lostConnections() {
		t.Run(name, func(t *testing.T) {
			b := openBank(t, s)
			signed := 0
			r := newFixture(t, b.roots, func(req *http.Request, _ []byte) error {
				signed++
				req.Header.Set("Authorization", strconv.Itoa(signed))
				return nil
			})
			req := post(t, b.url)
			req.Header.Set("X-Request-Id", "same")
			if _, err := r.Read(t.Context(), attendedQuery(), req); err != nil {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]int{0, 1}, r.resends()); diff != "" {
				t.Errorf("sendings as observed: %s", diff)
			}
			arrived, _ := b.seen()
			last := arrived[len(arrived)-1]
			if len(arrived) > 2 || last.header.Get("Authorization") != "2" || last.header.Get("X-Request-Id") != "same" || last.body != string(req.Body) {
				t.Errorf("%+v arrived", arrived)
			}
		})
	}
}

// TestAttendedCallIsRetriedWithoutConnection: an attended call without a connection is sent once
// more, for any cause.
func TestAttendedCallIsRetriedWithoutConnection(t *testing.T) {
	t.Parallel()
	closed := refusedURL(t)
	for name, host := range map[string]string{
		"refused": "127.0.0.1", "all addresses refuse": "second.example.com", "the name has no address": "none.example.com",
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, nil, nil)
			_, err := r.Read(t.Context(), attendedQuery(), post(t, strings.Replace(closed, "127.0.0.1", host, 1)))
			if kind(err) != canonical.ProviderUnavailable {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]int{0, 1}, r.resends()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnattendedCallIsNotRetried: an unattended call is never sent again.
func TestUnattendedCallIsNotRetried(t *testing.T) {
	t.Parallel()
	for name, s := range lostConnections() {
		t.Run(name, func(t *testing.T) {
			b := openBank(t, s)
			r, q := newFixture(t, b.roots, nil), unattendedQuery()
			if _, err := r.Read(t.Context(), q, post(t, b.url)); err == nil {
				t.Error("the call succeeded")
			}
			if arrived, taken := b.seen(); len(arrived) > 1 || taken != 1 {
				t.Errorf("%d arrived over %d connections", len(arrived), taken)
			}
			if diff := cmp.Diff([]int{0}, r.resends()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNotRetried: a call is not sent again after a response, after a timeout, or if the provider
// has an invalid certificate.
func TestNotRetried(t *testing.T) {
	t.Parallel()
	after := func(text string) script {
		return first(func(conn net.Conn, read func()) { read(); _, _ = io.WriteString(conn, text) })
	}
	for _, tt := range []struct {
		name   string
		script script
		roots  *x509.CertPool
		kind   canonical.Kind
	}{
		{"500", after("HTTP/1.1 500 No\r\n" + errorBody), nil, canonical.ProviderError},
		{"503", after("HTTP/1.1 503 No\r\nContent-Length: 20\r\n\r\nPROVIDER_UNAVAILABLE"), nil, canonical.ProviderUnavailable},
		{"broken in the header", after("HTTP/1.1 2"), nil, canonical.ProviderInvalidResponse},
		{"broken between the header's lines", after("HTTP/1.1 200 OK\r\n"), nil, canonical.ProviderError},
		{"broken in the body", after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), nil, canonical.ProviderError},
		{"no HTTP", after("SSH-2.0\r\n\r\n"), nil, canonical.ProviderInvalidResponse},
		{"silence", first(func(conn net.Conn, read func()) { read(); _, _ = conn.Read(make([]byte, 1)) }), nil, canonical.ProviderTimeout},
		{"unknown authority", script{secure: true}, x509.NewCertPool(), canonical.ProviderUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, has := openBank(t, tt.script), timeout
			if tt.kind == canonical.ProviderTimeout {
				has = shortTimeout
			}
			r := newFixtureWithTimeout(t, has, tt.roots, nil)
			if _, err := r.Read(t.Context(), attendedQuery(), post(t, b.url)); kind(err) != tt.kind {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
			if diff := cmp.Diff([]int{0}, r.resends()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoThirdAttempt: a call that net/http has sent again is not sent a third time.
func TestNoThirdAttempt(t *testing.T) {
	t.Parallel()
	b := openBank(t, script{reply: func(nth int, conn net.Conn, read func()) bool {
		read()
		if nth == 1 {
			_, _ = io.WriteString(conn, okResponse)
		}
		return nth == 1
	}})
	r, q := newFixture(t, nil, nil), attendedQuery()
	get := call(t, b.url, http.MethodGet, "")
	if _, err := r.Read(t.Context(), q, get); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), q, get); kind(err) != canonical.ProviderError {
		t.Errorf("got %v", err)
	}
	if arrived, _ := b.seen(); len(arrived) != 3 {
		t.Errorf("%d calls arrived, want the first, and the second twice", len(arrived))
	}
}

// TestAtMostTwoAttempts: a call is sent at most twice, even if several reused connections break one
// after the other.
func TestAtMostTwoAttempts(t *testing.T) {
	t.Parallel()
	const conns = 10
	var all sync.WaitGroup
	all.Add(conns)
	b := openBank(t, script{reply: func(nth int, conn net.Conn, read func()) bool {
		read()
		if nth > conns {
			return false
		}
		all.Done()
		all.Wait() // so that each has a connection of its own
		_, _ = io.WriteString(conn, okResponse)
		return true
	}})
	r, q := newFixture(t, nil, nil), attendedQuery()
	get := call(t, b.url, http.MethodGet, "")
	var done sync.WaitGroup
	for range conns {
		done.Go(func() {
			if _, err := r.Read(t.Context(), q, get); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if _, err := r.Read(t.Context(), q, get); kind(err) != canonical.ProviderError {
		t.Errorf("got %v", err)
	}
	if arrived, _ := b.seen(); len(arrived) != conns+2 {
		t.Errorf("the last call was sent %d times", len(arrived)-conns)
	}
}

// TestResendAllowance: one in ten attended calls may be sent again, and one at the start.
// Unattended calls add no credit.
func TestResendAllowance(t *testing.T) {
	t.Parallel()
	closed := refusedURL(t)
	observer := new(events)
	w := upstream.New(upstream.Config{Timeout: timeout, Observer: observer})
	one, other := w.Client(providers.ClientConfig{ClassifyError: classify}), w.Client(providers.ClientConfig{ClassifyError: classify})
	for i := range 100 {
		c := one
		if i%2 == 1 {
			c = other // a provider has one allowance for all its clients
		}
		if _, err := c.Read(t.Context(), attendedQuery(), post(t, closed)); kind(err) != canonical.ProviderUnavailable {
			t.Fatal(err)
		}
		_, _ = c.Read(t.Context(), unattendedQuery(), post(t, closed))
	}
	again := len(slices.DeleteFunc(observer.resends(), func(n int) bool { return n == 0 }))
	if again != 11 {
		t.Errorf("%d of 100 calls were sent again, want 1 at first and 1 in 10", again)
	}
}

// TestRetryWithinTimeout: the second attempt is within the timeout of the call and within the
// caller's context.
func TestRetryWithinTimeout(t *testing.T) {
	t.Parallel()
	closed := refusedURL(t)
	observer := new(events)
	// Shorter than the minimum delay. On a busy machine the first attempt may not be refused in
	// time: then nothing was sent.
	w := upstream.New(upstream.Config{Timeout: 15 * time.Millisecond, Observer: observer})
	if _, err := w.Client(providers.ClientConfig{ClassifyError: classify}).Read(t.Context(), attendedQuery(), post(t, closed)); kind(err) == "" {
		t.Error("the call succeeded")
	}
	if slices.Contains(observer.resends(), 1) {
		t.Error("sent again after the timeout")
	}

	ctx, leave := context.WithCancel(t.Context())
	b := openBank(t, first(func(_ net.Conn, read func()) { read(); leave() }))
	r := newFixture(t, nil, nil)
	if _, err := r.Read(ctx, attendedQuery(), post(t, b.url)); kind(err) != canonical.Canceled {
		t.Errorf("got %v", err)
	}
	if slices.Contains(r.resends(), 1) {
		t.Error("sent again after the caller left")
	}
}
