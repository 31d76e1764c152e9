package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestIsAddress(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:9090": true, "127.0.0.1:9090": true, "127.0.0.1": true, "[::1]:9090": true, "[::1]": true, "10.0.0.1": true,
		"": false, "evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "127.0.0.1.nip.io:9090": false, "localhost.": false,
	} {
		if got := isAddress(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// heldResponse is a response whose client does not read until release is closed.
type heldResponse struct {
	*httptest.ResponseRecorder
	begun, release chan struct{}
}

func (h heldResponse) Write(p []byte) (int, error) {
	h.begun <- struct{}{}
	<-h.release
	return h.ResponseRecorder.Write(p)
}

// At most maxScrapes requests collect the metrics at the same time. Clients that do not read their
// response do not count.
func TestLimitScrapes(t *testing.T) {
	collecting, proceed := make(chan struct{}), make(chan struct{})
	h := limitScrapes(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		collecting <- struct{}{}
		<-proceed
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("metrics"))
	}))
	scrape := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody) }
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan heldResponse)
	for range maxScrapes {
		go func() {
			w := heldResponse{httptest.NewRecorder(), begun, release}
			h.ServeHTTP(w, scrape())
			ended <- w
		}()
		<-collecting
	}
	refused := httptest.NewRecorder()
	h.ServeHTTP(refused, scrape())
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") != "1" {
		t.Errorf("one more: %d %v", refused.Code, refused.Header())
	}
	close(proceed)
	for range maxScrapes {
		<-begun
	}
	next := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, scrape())
		next <- w.Code
	}()
	<-collecting
	if code := <-next; code != http.StatusOK {
		t.Errorf("while other clients do not read: %d", code)
	}
	close(release)
	for range maxScrapes {
		if w := <-ended; w.Code != http.StatusOK || w.Body.String() != "metrics" || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
	}
}
