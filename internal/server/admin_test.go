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

// held is a response that is not read until it is let go.
type held struct {
	*httptest.ResponseRecorder
	begun, let chan struct{}
}

func (h held) Write(p []byte) (int, error) {
	h.begun <- struct{}{}
	<-h.let
	return h.ResponseRecorder.Write(p)
}

// TestLimitScrapes lets so many requests collect the metrics at a time and no more. Who does not read what was
// collected takes no place.
func TestLimitScrapes(t *testing.T) {
	under, proceed := make(chan struct{}), make(chan struct{})
	h := limitScrapes(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		under <- struct{}{}
		<-proceed
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("metrics"))
	}))
	scrape := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody) }
	begun, let, ended := make(chan struct{}), make(chan struct{}), make(chan held)
	for range maxScrapes {
		go func() {
			w := held{httptest.NewRecorder(), begun, let}
			h.ServeHTTP(w, scrape())
			ended <- w
		}()
		<-under
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
	<-under
	if code := <-next; code != http.StatusOK {
		t.Errorf("beside those who do not read: %d", code)
	}
	close(let)
	for range maxScrapes {
		if w := <-ended; w.Code != http.StatusOK || w.Body.String() != "metrics" || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
	}
}
