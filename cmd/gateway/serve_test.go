package main

import (
	"log/slog"
	"testing"
	"time"
)

// Whatever a caller's connection waits for ends, between requests too.
func TestServersBoundEveryWait(t *testing.T) {
	s := (&program{log: slog.New(slog.DiscardHandler), patience: time.Minute}).server(nil, newIdlers(1), nil)
	for name, bound := range map[string]time.Duration{
		"headers": s.ReadHeaderTimeout, "request": s.ReadTimeout, "answer": s.WriteTimeout, "the next request": s.IdleTimeout,
	} {
		if bound <= 0 || bound > 2*time.Minute {
			t.Errorf("%s: %v", name, bound)
		}
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("%d bytes of headers", s.MaxHeaderBytes)
	}
}
