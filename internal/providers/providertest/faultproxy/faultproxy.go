// Package faultproxy is a proxy before a simulator in the same process, which changes its responses or
// replaces them. Tests of adapters use it.
package faultproxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy forwards requests to a handler. It is safe for concurrent use.
type Proxy struct {
	Next     http.Handler // set before the first request
	mu       sync.Mutex
	override http.Handler // replaces next if set
	arrived  int
}

// ServeHTTP serves a request with the handler of HandleWith, or with Next.
func (f *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.arrived++
	h := f.Next
	if f.override != nil {
		h = f.override
	}
	f.mu.Unlock()
	h.ServeHTTP(w, r)
}

// Count returns the number of requests since the last HandleWith.
func (f *Proxy) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

// HandleWith replaces Next by a handler, and sets the count of requests to zero.
func (f *Proxy) HandleWith(spoil http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override, f.arrived = spoil, 0
}

// A Mutation changes a response: it modifies the header and returns the new body.
type Mutation func(h http.Header, body []byte) []byte

// Mutate applies m to the simulator's responses.
func (f *Proxy) Mutate(m Mutation) {
	f.Rewrite(func(h http.Header, _ *int, body []byte) []byte {
		h.Del("Content-Length")
		return m(h, body)
	})
}

// Rewrite changes the simulator's responses and their status.
func (f *Proxy) Rewrite(change func(h http.Header, status *int, body []byte) []byte) {
	f.HandleWith(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		f.Next.ServeHTTP(rec, r)
		body := change(rec.Header(), &rec.Code, rec.Body.Bytes())
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// HangUp is a handler that reads the request and closes the connection.
func HangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
}

// Delayed returns a handler that responds after d, unless the client disconnects.
func Delayed(next http.Handler, d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // only then is a disconnect detected
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-time.After(d):
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// ContentCoding sets a content coding that the body does not have.
func ContentCoding(name string) Mutation {
	return func(h http.Header, body []byte) []byte {
		h.Set("Content-Encoding", name)
		return body
	}
}

// Gzipped compresses a body, and sets its content coding.
func Gzipped(h http.Header, body []byte) []byte {
	h.Set("Content-Encoding", "gzip")
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return []byte(b.String())
}

// Replace returns a Mutation that replaces the first occurrence of a text. The test fails if there is
// none.
func Replace(t testing.TB, old, by string) Mutation {
	t.Helper()
	return func(_ http.Header, body []byte) []byte {
		if !bytes.Contains(body, []byte(old)) {
			t.Errorf("there is nothing to mutate: %s", old)
		}
		return bytes.Replace(body, []byte(old), []byte(by), 1)
	}
}

// SetHeader returns a Mutation that sets a header.
func SetHeader(name, value string) Mutation {
	return func(h http.Header, body []byte) []byte {
		h.Set(name, value)
		return body
	}
}
