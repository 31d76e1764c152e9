package upstream_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

const (
	aspsp = "4f1e2d3c-0000-4000-8000-000000000001"
	// timeout is the timeout of a call, long enough for a busy machine; shortTimeout is for calls
	// that time out.
	timeout      = 30 * time.Second
	shortTimeout = 2 * time.Second
)

// fixture is a client with its counter and the events that its observer received.
type fixture struct {
	providers.Client
	counter *unattended.Counter
	events
}

type events struct {
	mu    sync.Mutex
	slots []upstream.SlotEvent
	calls []upstream.Call
	ends  []canonical.Kind
}

func (e *events) Call(ctx context.Context, c upstream.Call) (context.Context, func(int, canonical.Kind)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, c)
	return ctx, func(_ int, k canonical.Kind) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ends = append(e.ends, k)
	}
}

func (e *events) Slot(_ context.Context, _ string, s upstream.SlotEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slots = append(e.slots, s)
}

func newFixture(t *testing.T, roots *x509.CertPool, sign func(*http.Request, []byte) error) *fixture {
	t.Helper()
	return newFixtureWithTimeout(t, timeout, roots, sign)
}

func newFixtureWithTimeout(t *testing.T, timeout time.Duration, roots *x509.CertPool, sign func(*http.Request, []byte) error) *fixture {
	t.Helper()
	s := redistest.OpenAt(t, redistest.Shared(t))
	r := &fixture{counter: unattended.New(s.Counter, map[string]config.Unattended{
		aspsp: {Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}).Within(redistest.CommandTimeout)}
	transport := upstream.New(upstream.Config{Provider: "test", Timeout: timeout, Counter: r.counter, Observer: r, Roots: roots})
	r.Client = transport.Client(providers.ClientConfig{Sign: sign, ClassifyError: classify})
	return r
}

// classify returns the kind in the response's body.
func classify(_ canonical.Query, _ providers.Request, a providers.Response) *canonical.Error {
	return &canonical.Error{Kind: canonical.Kind(a.Body), Origin: canonical.OriginASPSP}
}

func (r *fixture) used(t *testing.T, q canonical.Query) int {
	t.Helper()
	s, err := r.counter.Usage(t.Context(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent})
	if err != nil {
		t.Fatal(err)
	}
	return s.Used
}

func unattendedQuery() canonical.Query {
	return canonical.Query{ASPSP: aspsp, Consent: uuid.NewString(), RequestID: uuid.NewString()}
}

func attendedQuery() canonical.Query {
	q := unattendedQuery()
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

func post(t *testing.T, base string) providers.Request {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return providers.Request{
		Method: http.MethodPost, URL: adapter.URL(u, "accounts"), Route: "/accounts",
		Header: http.Header{"Accept": {"application/json"}}, Body: []byte(`{"a":1}`),
	}
}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return ""
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestUnattendedIsCountedBeforeSending(t *testing.T) {
	t.Parallel()
	arrived := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { arrived++; _, _ = io.WriteString(w, "{}") })
	r, q := newFixture(t, nil, nil), unattendedQuery()
	for i := range 4 {
		if _, err := r.Read(t.Context(), q, post(t, s.URL)); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	if _, err := r.Read(t.Context(), q, post(t, s.URL)); kind(err) != canonical.UnattendedLimit {
		t.Errorf("fifth call: %v", err)
	}
	if arrived != 4 {
		t.Errorf("%d calls arrived", arrived)
	}
	a := attendedQuery()
	a.Consent = q.Consent
	if _, err := r.Read(t.Context(), a, post(t, s.URL)); err != nil || arrived != 5 {
		t.Errorf("attended: %v", err)
	}
	if r.used(t, q) != 4 {
		t.Errorf("an attended call was counted: %d", r.used(t, q))
	}
	// The call may be sent until its timeout after it was counted, so that its slot lasts that much
	// longer.
	s4, err := r.counter.Usage(t.Context(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent})
	if err != nil || s4.Wait <= 24*time.Hour || s4.Wait > 24*time.Hour+timeout {
		t.Errorf("the next slot opens in %v, %v", s4.Wait, err)
	}
	if len(r.calls) != 5 || len(r.ends) != 5 {
		t.Errorf("%d calls were observed, %d ends, want 5: a refused call is not observed", len(r.calls), len(r.ends))
	}
	want := []upstream.SlotEvent{"taken", "taken", "taken", "taken", "refused"}
	if diff := cmp.Diff(want, r.slots); diff != "" {
		t.Error(diff)
	}
}

func TestUnattendedWithoutCounter(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a call arrived that was not counted") })
	c := upstream.New(upstream.Config{Timeout: timeout}).Client(providers.ClientConfig{ClassifyError: classify})
	if _, err := c.Read(t.Context(), unattendedQuery(), post(t, s.URL)); kind(err) != canonical.CounterUnavailable {
		t.Errorf("got %v", err)
	}
}

// TestSlotRelease: the slot of a call that was certainly not sent is released; any other call stays
// counted, also in the event of its request.
func TestSlotRelease(t *testing.T) {
	t.Parallel()
	reset := serve(t, func(w http.ResponseWriter, _ *http.Request) { hijack(w).Close() })
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	angry := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "PROVIDER_ERROR")
	})
	closed := refusedURL(t)
	untrusted := httptest.NewTLSServer(nil)
	untrusted.Config.ErrorLog = nil
	t.Cleanup(untrusted.Close)
	for _, tt := range []struct {
		name string
		base string
		kind canonical.Kind
		used int
		has  time.Duration
	}{
		{"connection refused", closed, canonical.ProviderUnavailable, 0, timeout},
		{"unknown host", "http://nobody.invalid", canonical.ProviderUnavailable, 0, timeout},
		{"TLS handshake fails", untrusted.URL, canonical.ProviderUnavailable, 0, timeout},
		{"TLS to a server without it", strings.Replace(angry.URL, "http", "https", 1), canonical.ProviderUnavailable, 0, timeout},
		{"no response to the TLS handshake", "https://" + silentServer(t), canonical.ProviderUnavailable, 0, shortTimeout},
		{"reset after sending", reset.URL, canonical.ProviderError, 1, timeout},
		{"no response in time", silent.URL, canonical.ProviderTimeout, 1, shortTimeout},
		{"error response", angry.URL, canonical.ProviderError, 1, timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, q := newFixtureWithTimeout(t, tt.has, nil, nil), unattendedQuery()
			var totals event.Totals
			_, err := r.Read(event.WithTotals(t.Context(), &totals), q, post(t, tt.base))
			if kind(err) != tt.kind {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
			if used := r.used(t, q); used != tt.used {
				t.Errorf("%d calls are counted, want %d", used, tt.used)
			}
			want := []upstream.SlotEvent{"taken", "given_back"}[:2-tt.used]
			if totals.Slots() != tt.used || !slices.Equal(r.slots, want) {
				t.Errorf("the event has %d slots, want %d; observed %q, want %q", totals.Slots(), tt.used, r.slots, want)
			}
		})
	}
}

// silentServer returns the address of a server that accepts connections and sends nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return conn
}

// TestUnattendedIsNeverSentTwice: a lost unattended call is not sent again: neither by the client
// nor by net/http, after a connection that is lost before its response.
func TestUnattendedIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			arrived, conns := 0, map[string]bool{}
			s := serve(t, func(w http.ResponseWriter, req *http.Request) {
				arrived++
				conns[req.RemoteAddr] = true
				if arrived == 2 {
					hijack(w).Close()
					return
				}
				_, _ = io.WriteString(w, "{}")
			})
			r, q := newFixture(t, nil, nil), unattendedQuery()
			req := post(t, s.URL)
			req.Method = method
			if method == http.MethodGet {
				req.Body = nil
			}
			for range 3 {
				_, _ = r.Read(t.Context(), q, req)
			}
			if arrived != 3 || len(conns) != 3 {
				t.Errorf("%d arrived over %d connections, want each call once over its own", arrived, len(conns))
			}
		})
	}
}

func TestExactHeaders(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			read := bufio.NewReader(conn)
			var head strings.Builder
			for line, err := read.ReadString('\n'); err == nil && line != "\r\n"; line, err = read.ReadString('\n') {
				head.WriteString(line)
			}
			heads <- head.String()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
			conn.Close()
		}
	}()
	r := newFixture(t, nil, func(req *http.Request, body []byte) error {
		req.Header.Set("Authorization", "signed "+string(body))
		return nil
	})
	for _, q := range []canonical.Query{unattendedQuery(), attendedQuery()} {
		req := post(t, "http://"+l.Addr().String())
		req.URL = adapter.URL(req.URL, "../../admin", "a%2Fb", "a+b/c?#")
		if _, err := r.Read(t.Context(), q, req); err != nil {
			t.Fatal(err)
		}
		want := "POST /accounts/..%2F..%2Fadmin/a%252Fb/a+b%2Fc%3F%23 HTTP/1.1\r\nHost: " + l.Addr().String() +
			"\r\nContent-Length: 7\r\nAccept: application/json\r\nAuthorization: signed {\"a\":1}\r\n"
		if !q.Attended() {
			want += "Connection: close\r\n"
		}
		if diff := cmp.Diff(want, <-heads); diff != "" {
			t.Error(diff)
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the adapter's header was changed")
		}
	}
}

// TestCountedCallOutlivesCaller: a counted call is completed although its caller has left.
func TestCountedCallOutlivesCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan bool, 1)
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		cancel()
		select {
		case <-req.Context().Done():
			finished <- false
		case <-time.After(200 * time.Millisecond):
			_, err := io.WriteString(w, "{}")
			finished <- err == nil
		}
	})
	r, q := newFixture(t, nil, nil), unattendedQuery()
	if _, err := r.Read(ctx, q, post(t, s.URL)); err != nil || !<-finished {
		t.Errorf("the call ended with its caller: %v", err)
	}
	if _, err := r.Read(ctx, q, post(t, s.URL)); kind(err) != canonical.Canceled || r.used(t, q) != 1 {
		t.Errorf("a caller that left before: %v, %d counted", err, r.used(t, q))
	}
}

func TestAttendedCallEndsWithCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		cancel()
		<-req.Context().Done()
	})
	if _, err := newFixture(t, nil, nil).Read(ctx, attendedQuery(), post(t, s.URL)); kind(err) != canonical.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name       string
		kind       canonical.Kind
		retryAfter string
		wait       time.Duration
		closes     bool
	}{
		{"limit, no time", canonical.UnattendedLimit, "", day, true},
		{"limit, seconds", canonical.UnattendedLimit, "3600", time.Hour, true},
		{"limit, longer than a window", canonical.UnattendedLimit, "999999", day, true},
		{"limit, a fraction", canonical.UnattendedLimit, "30.5", 31 * time.Second, true},
		{"limit, no wait", canonical.UnattendedLimit, "-30", day, true},
		{"limit, nothing readable", canonical.UnattendedLimit, "soon", day, true},
		{"throttled, seconds", canonical.ProviderThrottled, "7", 7 * time.Second, false},
		{"throttled, no time", canonical.ProviderThrottled, "", 0, false},
		{"unavailable, seconds", canonical.ProviderUnavailable, "5", 5 * time.Second, false},
		{"unavailable, no time", canonical.ProviderUnavailable, "", 30 * time.Second, false},
		{"consent", canonical.ConsentExpired, "", 0, false},
		{"consent, with a time", canonical.ConsentExpired, "3600", 0, false},
		{"error, seconds", canonical.ProviderError, "9", 9 * time.Second, false},
		{"time-out, seconds", canonical.ProviderTimeout, "9", 9 * time.Second, false},
		{"error, no time", canonical.ProviderError, "", 0, false},
		{"unavailable, a moment", canonical.ProviderUnavailable, strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10), 30 * time.Second, false},
		{"throttled, a moment", canonical.ProviderThrottled, strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, string(tt.kind))
			})
			r := newFixture(t, nil, nil)
			for _, q := range []canonical.Query{unattendedQuery(), attendedQuery()} {
				_, err := r.Read(t.Context(), q, post(t, s.URL))
				var failure *canonical.Error
				if !errors.As(err, &failure) || failure.Kind != tt.kind {
					t.Fatalf("got %v", err)
				}
				wait := tt.wait
				if q.Attended() && wait == day {
					wait = 0 // the default wait is only for unattended calls
				}
				if failure.RetryAfter != wait && !(q.Attended() && tt.retryAfter == "999999") {
					t.Errorf("attended %t: retry after %v, want %v", q.Attended(), failure.RetryAfter, wait)
				}
				if failure.Attended != (q.Attended() && tt.kind == canonical.UnattendedLimit) {
					t.Errorf("attended %t: Error.Attended is %t", q.Attended(), failure.Attended)
				}
				s, err := r.counter.Usage(t.Context(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent})
				if err != nil {
					t.Fatal(err)
				}
				if isClosed := s.Used < 4 && s.Remaining == 0; isClosed != (tt.closes && !q.Attended()) {
					t.Errorf("attended %t: closed is %t (%+v)", q.Attended(), isClosed, s)
				}
			}
		})
	}
}

// TestRetryAfter: an implausible wait is ignored.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"": 0, "soon": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "0": time.Second, "00007": 7 * time.Second,
		"30.5": 31 * time.Second, "0.2": time.Second, "30.": 30 * time.Second, "1.2.3": 0, ".": 0, ".5": time.Second,
		"-1": 0, "-30.5": 0, "+30": 0, "1e9": 0, "0x10": 0, "Inf": 0, "NaN": 0, "1, 2": 0,
		"2678400": 31 * 24 * time.Hour, "2678401": 0, "2678400.5": 0, "4294967295": 0, "99999999999999999999": 0, strings.Repeat("9", 400): 0,
		strconv.FormatInt(now.Add(time.Minute).Unix(), 10): 0, strconv.FormatInt(now.Add(time.Minute).UnixMilli(), 10): 0,
		at(90 * time.Second): 90 * time.Second, at(0): time.Second, at(-time.Second): 0, at(31 * 24 * time.Hour): 31 * 24 * time.Hour,
		at(32 * 24 * time.Hour): 0, "Fri, 31 Dec 9999 23:59:59 GMT": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		h := http.Header{"Retry-After": {value}, "Date": {at(0)}}
		if got := upstream.RetryAfter(h, now.Add(time.Hour)); got != want {
			t.Errorf("%q is %v, want %v", value, got, want)
		}
	}
}

// TestRetryAfterAsDate: a date is compared with the response's Date header, and with the gateway's
// clock only without one.
func TestRetryAfterAsDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		date any // the answer's own
		ours time.Time
	}{
		{"no date", nil, now},
		{"our clock a day ahead", now.Format(http.TimeFormat), now.Add(24 * time.Hour)},
		{"our clock a day behind", now.Format(http.TimeFormat), now.Add(-24 * time.Hour)},
		{"a date that is none", "today", now},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			if tt.date != nil {
				w.Header().Set("Date", fmt.Sprint(tt.date))
			}
			w.Header().Set("Retry-After", now.Add(90*time.Second).Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "PROVIDER_UNAVAILABLE")
		})
		c := upstream.New(upstream.Config{Timeout: timeout, Now: func() time.Time { return tt.ours }}).Client(providers.ClientConfig{ClassifyError: classify})
		_, err := c.Read(t.Context(), attendedQuery(), post(t, s.URL))
		var failure *canonical.Error
		if !errors.As(err, &failure) || failure.RetryAfter != 90*time.Second {
			t.Errorf("%s: got %+v", tt.name, failure)
		}
	}
}

func TestBadResponses(t *testing.T) {
	t.Parallel()
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn := hijack(w)
			_, _ = io.WriteString(conn, text)
			conn.Close()
		}
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   canonical.Kind
	}{
		{"too large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 5<<20)) }, canonical.ProviderInvalidResponse},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, canonical.ProviderInvalidResponse},
		{"compression bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(bytes.Repeat([]byte("{}"), 1<<20))
			_ = z.Close()
		}, canonical.ProviderInvalidResponse},
		{"no HTTP", raw("SSH-2.0-OpenSSH\r\n\r\n"), canonical.ProviderInvalidResponse},
		{"endless headers", raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200) + "\r\n"), canonical.ProviderInvalidResponse},
		{"cut off", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), canonical.ProviderError},
		{"two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), canonical.ProviderInvalidResponse},
		{"no status", raw("HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n{}"), canonical.ProviderInvalidResponse},
		{"another protocol, held open", func(w http.ResponseWriter, _ *http.Request) {
			conn := hijack(w)
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn) // until the gateway closes it
			conn.Close()
		}, canonical.ProviderInvalidResponse},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}, canonical.ProviderTimeout},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/accounts" {
				t.Error("the redirect was followed")
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
			_, _ = io.WriteString(w, "PROVIDER_REJECTED")
		}, canonical.ProviderRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // an unread body would end the connection with a reset
				tt.answer(w, r)
			})
			for _, q := range []canonical.Query{attendedQuery(), unattendedQuery()} {
				has := timeout
				if tt.kind == canonical.ProviderTimeout {
					has = shortTimeout
				}
				r := newFixtureWithTimeout(t, has, nil, nil)
				answer, err := r.Read(t.Context(), q, post(t, s.URL))
				if kind(err) != tt.kind || answer.Body != nil {
					t.Errorf("attended %t: got %v, want %s", q.Attended(), err, tt.kind)
				}
				if len(r.ends) != 1 || r.ends[0] != tt.kind || r.calls[0].Route != "/accounts" {
					t.Errorf("observed %v of %v", r.ends, r.calls)
				}
			}
		})
	}
}

// TestNotSentAfterDeadline: a process that was stopped between counting and sending sends nothing
// if it continues after the deadline.
func TestNotSentAfterDeadline(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the call was sent after the deadline") })
	r, q := newFixture(t, nil, nil), unattendedQuery()
	late := upstream.New(upstream.Config{Timeout: timeout, Counter: r.counter, Now: func() time.Time { return time.Now().Add(timeout) }})
	_, err := late.Client(providers.ClientConfig{ClassifyError: classify}).Read(t.Context(), q, post(t, s.URL))
	if kind(err) != canonical.ProviderTimeout || r.used(t, q) != 1 {
		t.Errorf("got %v, %d counted", err, r.used(t, q))
	}
}

// TestReservedSlotIsNotUsedLate: a call with a reserved slot is sent until the timeout after the
// reservation, although the read began later.
func TestReservedSlotIsNotUsedLate(t *testing.T) {
	t.Parallel()
	const reservedFor, readTimeout = time.Hour, 3 * time.Hour
	for later, sent := range map[time.Duration]int64{reservedFor / 2: 1, reservedFor + time.Minute: 0} {
		t.Run(later.String(), func(t *testing.T) {
			var arrived atomic.Int64
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) { arrived.Add(1); _, _ = io.WriteString(w, "{}") })
			r, q := newFixture(t, nil, nil), unattendedQuery()
			reservation := r.counter.NewReservation(reservedFor)
			calls := slices.Repeat([]unattended.Call{{ASPSP: q.ASPSP, Consent: q.Consent}}, 3)
			if _, _, failure := reservation.Reserve(t.Context(), calls, false); failure != nil {
				t.Fatal(failure)
			}
			ctx := unattended.WithReservation(t.Context(), reservation)
			now := func() time.Time { return time.Now().Add(later) }
			c := upstream.New(upstream.Config{Timeout: readTimeout, Counter: r.counter, Now: now}).Client(providers.ClientConfig{ClassifyError: classify})
			resp, err := c.Read(ctx, q, post(t, s.URL))
			if sent == 0 && kind(err) != canonical.ProviderTimeout || sent == 1 && (err != nil || resp.SlotsLeft != 3) {
				t.Errorf("got %v, %d slots left", err, resp.SlotsLeft)
			}
			if arrived.Load() != sent || r.used(t, q) != 3 {
				t.Errorf("%d calls arrived, %d counted", arrived.Load(), r.used(t, q))
			}
			if n, _ := reservation.Release(t.Context(), calls[0]); n != 2 {
				t.Errorf("%d slots of the reservation were not used, want 2", n)
			}
		})
	}
}

// TestRefusedRenewalIsNotSent: a call whose reserved slot is too old, and cannot be renewed, is not
// made.
func TestRefusedRenewalIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a call arrived without a slot") })
	r, q := newFixture(t, nil, nil), unattendedQuery()
	reservation, call := r.counter.NewReservation(0), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent}
	if _, _, failure := reservation.Reserve(t.Context(), []unattended.Call{call}, false); failure != nil {
		t.Fatal(failure)
	}
	if _, err := r.counter.Block(t.Context(), call, time.Hour); err != nil {
		t.Fatal(err)
	}
	_, err := r.Read(unattended.WithReservation(t.Context(), reservation), q, post(t, s.URL))
	if kind(err) != canonical.UnattendedLimit || r.used(t, q) != 0 {
		t.Errorf("got %v, %d counted", err, r.used(t, q))
	}
	if diff := cmp.Diff([]upstream.SlotEvent{"refused"}, r.slots); diff != "" {
		t.Error(diff)
	}
}

// TestNothingArrivesAfterTimeout: data that the kernel has not sent when a call times out is
// discarded.
func TestNothingArrivesAfterTimeout(t *testing.T) {
	t.Parallel()
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	l, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	arrived, over := make(chan int64, 1), make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		<-over
		n, _ := io.Copy(io.Discard, conn)
		arrived <- n
	}()
	req := post(t, "http://"+l.Addr().String())
	req.Body = bytes.Repeat([]byte("x"), 64<<10)
	_, err = newFixtureWithTimeout(t, shortTimeout, nil, nil).Read(t.Context(), unattendedQuery(), req)
	close(over)
	if kind(err) != canonical.ProviderTimeout {
		t.Fatal(err)
	}
	if n := <-arrived; n >= int64(len(req.Body)) {
		t.Errorf("%d bytes arrived: the whole call was sent after the timeout", n)
	}
}

// TestBlockAfterTimeout: a unit is blocked even if the read times out before.
func TestBlockAfterTimeout(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "UNATTENDED_LIMIT")
	})
	address := redistest.Shared(t)
	// In the synctest bubble, time passes only during Redis commands.
	synctest.Test(t, func(t *testing.T) {
		const step, has = 900 * time.Millisecond, 1500 * time.Millisecond
		defer time.Sleep(2 * time.Hour) // idle workers end
		slow := redistest.OpenAt(t, address)
		counter := unattended.New(slow.Counter, map[string]config.Unattended{aspsp: {Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}})
		q := unattendedQuery()
		call := unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent}
		other := unattended.Call{ASPSP: aspsp, Consent: uuid.NewString()} // Redis has the scripts from then on
		if _, err := counter.Take(t.Context(), other, has); err != nil {
			t.Fatal(err)
		}
		if _, err := counter.Block(t.Context(), other, 0); err != nil {
			t.Fatal(err)
		}
		slow.Counter.AddHook(late{step})
		transport := upstream.New(upstream.Config{Timeout: has, Counter: counter})
		client := transport.Client(providers.ClientConfig{ClassifyError: classify})
		began := time.Now()
		_, err := client.Read(t.Context(), q, post(t, s.URL))
		if kind(err) != canonical.UnattendedLimit {
			t.Fatal(err)
		}
		if took := time.Since(began); took <= has {
			t.Errorf("the read did not time out: %v", took)
		}
		if state, err := counter.Usage(t.Context(), call); err != nil || state.Remaining != 0 {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

// late delays each script in Redis, but not the handshake of a connection.
type late struct{ by time.Duration }

func (late) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l late) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			time.Sleep(l.by)
		}
		return next(context.WithoutCancel(ctx), cmd) // the real duration of a command does not count
	}
}

func (l late) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestDeadHTTP2Connection: a dead HTTP/2 connection is detected, so that later attended calls
// succeed.
func TestDeadHTTP2Connection(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	var mu sync.Mutex
	var dead bool
	address := startForwarder(t, s.Listener.Addr().String(), func() bool { mu.Lock(); defer mu.Unlock(); return dead })
	r := newFixtureWithTimeout(t, shortTimeout, roots, nil)
	if _, err := r.Read(t.Context(), attendedQuery(), post(t, "https://"+address)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	dead = true
	mu.Unlock()
	for range 8 { // two seconds each
		if _, err := r.Read(t.Context(), attendedQuery(), post(t, "https://"+address)); err == nil {
			return
		}
	}
	t.Error("no call succeeded, although new connections work")
}

// through forwards connections to address. When dead returns true, existing connections stop
// forwarding; new ones do not.
func startForwarder(t *testing.T, address string, dead func() bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", address)
			if err != nil {
				in.Close()
				return
			}
			born := dead()
			go func() { defer in.Close(); _, _ = io.Copy(in, out) }()
			go func() {
				defer out.Close()
				buffer := make([]byte, 1<<16)
				for {
					n, err := in.Read(buffer)
					if err != nil {
						return
					}
					if dead() && !born {
						continue
					}
					if _, err := out.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestSigningFailureTakesNoSlot(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("sent unsigned") })
	r, q := newFixture(t, nil, func(*http.Request, []byte) error { return errors.New("no key") }), unattendedQuery()
	if _, err := r.Read(t.Context(), q, post(t, s.URL)); kind(err) != canonical.InternalError || r.used(t, q) != 0 {
		t.Errorf("got %v, %d counted", err, r.used(t, q))
	}
}

// TestRefusedCallIsNotSigned: a call that the counter refuses is not signed, because a signature is
// expensive.
func TestRefusedCallIsNotSigned(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	signed := 0
	r := newFixture(t, nil, func(req *http.Request, body []byte) error {
		signed++
		if string(body) != `{"a":1}` || req.Header.Get("Accept") == "" {
			t.Errorf("%q is signed, with %v", body, req.Header)
		}
		return nil
	})
	q := unattendedQuery()
	for i := range 6 {
		want := canonical.Kind("")
		if i >= 4 {
			want = canonical.UnattendedLimit
		}
		if _, err := r.Read(t.Context(), q, post(t, s.URL)); kind(err) != want {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if signed != 4 {
		t.Errorf("%d requests were signed, want 4", signed)
	}
}

func TestTrustedTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, req.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	r := newFixture(t, roots, nil)
	for _, tt := range []struct {
		q    canonical.Query
		want string
	}{{attendedQuery(), "HTTP/2.0"}, {unattendedQuery(), "HTTP/1.1"}} {
		answer, err := r.Read(t.Context(), tt.q, post(t, s.URL))
		if err != nil || string(answer.Body) != tt.want {
			t.Errorf("attended %t: %q, %v, want %s", tt.q.Attended(), answer.Body, err, tt.want)
		}
	}
}
