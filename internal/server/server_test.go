package server

import (
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
