package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"ais-gateway/internal/canonical"
)

const (
	maxAdminIdle = 64 // idle connections to the admin address
	maxScrapes   = 4  // requests that collect the metrics at the same time
)

// Health is what /readyz reports, apart from whether the gateway drains.
type Health struct {
	Redis    string   // the state of Redis
	Policy   string   // Redis's maxmemory-policy; empty if unknown
	Warnings []string // for the operator; one sentence each, without personal data
}

// adminHandler serves probes, metrics and profiles. Profiles end when ctx ends. If the address is a
// loopback one, it refuses requests whose Host header is a DNS name.
func (s *Server) adminHandler(ctx context.Context, loopback bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "live"})
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", limitScrapes(s.cfg.Metrics))
	if s.cfg.Profiling {
		handleProfiles(ctx, mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if loopback && !isAddress(r.Host) {
			writeJSON(w, http.StatusMisdirectedRequest, map[string]string{"error": "the Host header must be an IP address or localhost"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isAddress reports whether a Host header is an IP address or localhost. A web page can make a
// browser on this machine send requests to a loopback address only under a DNS name of the page's
// owner (DNS rebinding).
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// isLoopback reports whether only this machine can connect to the address.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// refuseAdmin responds to an admin request whose end is ambiguous.
func refuseAdmin(w http.ResponseWriter, _ *http.Request, fault canonical.FieldError) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": fault.Name + " " + fault.Detail})
}

// limitScrapes lets maxScrapes requests collect the metrics at the same time and responds 503 to
// others. The collected metrics are sent afterwards, so that slow readers do not count.
func limitScrapes(metrics http.Handler) http.Handler {
	scrapes := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case scrapes <- struct{}{}:
		default:
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "too many concurrent requests for metrics"})
			return
		}
		buffered := &bufferedResponse{header: w.Header()}
		func() {
			defer func() { <-scrapes }()
			metrics.ServeHTTP(buffered, r)
		}()
		w.WriteHeader(cmp.Or(buffered.status, http.StatusOK))
		_, _ = w.Write(buffered.body.Bytes())
	})
}

// bufferedResponse is a response that is sent later.
type bufferedResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *bufferedResponse) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *bufferedResponse) WriteHeader(status int) { r.status = cmp.Or(r.status, status) }

// Write implements http.ResponseWriter.
func (r *bufferedResponse) Write(p []byte) (int, error) { return r.body.Write(p) }

// readiness is the body of /readyz.
type readiness struct {
	Status   string   `json:"status"` // ready or draining
	Redis    string   `json:"redis"`
	Policy   string   `json:"maxmemoryPolicy,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// ready responds 503 while the gateway drains, and 200 otherwise. A gateway without Redis is ready,
// because it still serves attended requests.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	h := s.cfg.Health(r.Context())
	body, code := readiness{Status: "ready", Redis: h.Redis, Policy: h.Policy, Warnings: h.Warnings}, http.StatusOK
	if s.draining.Load() {
		body.Status, code = "draining", http.StatusServiceUnavailable
	}
	writeJSON(w, code, body)
}

// writeJSON writes a response that must not be cached.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
