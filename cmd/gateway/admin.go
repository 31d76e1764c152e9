package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// pingTimeout is how long /readyz waits for Redis.
const pingTimeout = 500 * time.Millisecond

// adminHandler serves what platform and monitoring ask. Callers never reach it.
func (p *program) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "live"})
	})
	mux.HandleFunc("GET /readyz", p.ready)
	mux.Handle("GET /metrics", p.telemetry.MetricsHandler())
	return mux
}

// ready says whether callers may be sent here. Without Redis they may: attended requests are still answered, and
// a gateway taken out of service would answer none.
func (p *program) ready(w http.ResponseWriter, r *http.Request) {
	status, code := "ready", http.StatusOK
	if p.draining.Load() {
		status, code = "draining", http.StatusServiceUnavailable
	}
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	redis := "ok"
	if p.store.Ping(ctx) != nil {
		redis = "unreachable"
	}
	answer(w, code, map[string]string{"status": status, "redis": redis})
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
