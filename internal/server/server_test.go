package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"
)

// Every phase of a connection has a timeout, including the time between requests.
func TestTimeouts(t *testing.T) {
	s, err := Listen(t.Context(), Config{
		Address: "127.0.0.1:0", AdminAddress: "127.0.0.1:0", API: http.NotFoundHandler(), Metrics: http.NotFoundHandler(),
		WriteTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for endpoint, server := range map[string]*http.Server{"api": s.api.http, "admin": s.admin.http} {
		for name, timeout := range map[string]time.Duration{
			"header": server.ReadHeaderTimeout, "request": server.ReadTimeout, "response": server.WriteTimeout, "next request": server.IdleTimeout,
		} {
			if timeout <= 0 || timeout > 2*time.Minute {
				t.Errorf("%s: timeout of the %s is %v", endpoint, name, timeout)
			}
		}
		if server.MaxHeaderBytes <= 0 || server.MaxHeaderBytes > 64<<10 {
			t.Errorf("%s: up to %d bytes of headers", endpoint, server.MaxHeaderBytes)
		}
	}
}

// serving returns the URL of a running server with a handler.
func serving(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s, err := Listen(t.Context(), Config{
		Address: "127.0.0.1:0", AdminAddress: "127.0.0.1:0", API: h, Metrics: http.NotFoundHandler(), InFlight: 8,
		WriteTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_, _ = s.api.http.Close(), s.admin.http.Close()
	})
	return "http://" + s.Addr().String()
}

// A handler can end its response earlier or later than Config.WriteTimeout: what it sets reaches the
// connection. A deadline in the past shows it without a wait.
func TestDeadlineOfAResponse(t *testing.T) {
	url := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/past" {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
		}
		_, _ = io.WriteString(w, "text")
	})
	for path, sent := range map[string]bool{"/": true, "/past": false} {
		response, err := http.Get(url + path)
		if err == nil {
			response.Body.Close()
		}
		if (err == nil) != sent {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A handler can send a part of a response: the caller has it before the handler goes on.
func TestFlush(t *testing.T) {
	read := make(chan struct{})
	url := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		<-read
		_, _ = io.WriteString(w, "two\n")
	})
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := bufio.NewReader(response.Body)
	for i, want := range []string{"one\n", "two\n"} {
		if line, err := body.ReadString('\n'); err != nil || line != want {
			t.Fatalf("line %d: %q, %v", i+1, line, err)
		}
		if i == 0 {
			close(read)
		}
	}
}
