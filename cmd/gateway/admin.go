package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
)

const (
	// mostAdminIdle is how many idle connections the admin address keeps; mostScrapes is how many requests may collect the
	// metrics at a time.
	mostAdminIdle, mostScrapes = 64, 4
	// healthTimeout is how long Redis has to say how it is.
	healthTimeout = 500 * time.Millisecond
	// healthEvery is how often it is asked, for the log.
	healthEvery = 5 * time.Second
)

// adminHandler serves what platform and monitoring ask. Callers never reach it.
func (p *program) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "live"})
	})
	mux.HandleFunc("GET /readyz", p.ready)
	mux.Handle("GET /metrics", bounded(p.telemetry.MetricsHandler()))
	if p.profiling {
		profile(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if p.local && !addressed(r.Host) {
			answer(w, http.StatusMisdirectedRequest, map[string]string{"error": "the Host header must be an IP address or localhost"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// addressed reports whether a Host names an address of this machine, and no DNS name. A web page can have a browser on this
// machine send a request to a loopback address only under a name of the page's own (DNS rebinding).
func addressed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// loopback reports whether only this machine can connect to the address.
func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// refuseAdmin responds to a request whose end is in doubt.
func refuseAdmin(w http.ResponseWriter, _ *http.Request, fault canonical.FieldError) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	answer(w, http.StatusBadRequest, map[string]string{"error": fault.Name + " " + fault.Detail})
}

// bounded lets only mostScrapes requests at a time collect the metrics; others get 503. What was collected is sent
// afterwards, so that a reader who is slow takes no place.
func bounded(metrics http.Handler) http.Handler {
	places := make(chan struct{}, mostScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
		default:
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusServiceUnavailable, map[string]string{"error": "too many concurrent requests for metrics"})
			return
		}
		collected := &collected{header: w.Header()}
		func() {
			defer func() { <-places }()
			metrics.ServeHTTP(collected, r)
		}()
		w.WriteHeader(cmp.Or(collected.status, http.StatusOK))
		_, _ = w.Write(collected.body.Bytes())
	})
}

// collected is a response that is sent later.
type collected struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is that of the response.
func (c *collected) Header() http.Header { return c.header }

// WriteHeader keeps the status.
func (c *collected) WriteHeader(status int) { c.status = cmp.Or(c.status, status) }

// Write keeps the body.
func (c *collected) Write(p []byte) (int, error) { return c.body.Write(p) }

// readiness is the answer of /readyz.
type readiness struct {
	Status   string      `json:"status"` // ready or draining
	Redis    store.State `json:"redis"`
	Policy   string      `json:"maxmemoryPolicy,omitempty"` // of Redis; missing where it does not say
	Warnings []string    `json:"warnings,omitempty"`
}

// ready says whether callers may be sent here. Without Redis they may: attended requests are still answered, and
// a gateway taken out of service would answer none.
func (p *program) ready(w http.ResponseWriter, r *http.Request) {
	health := p.redisHealth(r.Context())
	all := slices.Concat(redisWarnings(health), p.warnings.now())
	body, code := readiness{Status: "ready", Redis: health.State, Policy: health.Policy, Warnings: all}, http.StatusOK
	if p.draining.Load() {
		body.Status, code = "draining", http.StatusServiceUnavailable
	}
	answer(w, code, body)
}

func (p *program) redisHealth(ctx context.Context) store.Health {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return p.store.Health(ctx)
}

// redisWarnings are what is wrong with Redis.
func redisWarnings(h store.Health) []string {
	var all []string
	if h.State != store.Usable {
		all = append(all, "redis is "+string(h.State)+": unattended calls are refused, account lists are not cached")
	}
	if h.Evicts() {
		all = append(all, "redis may evict keys (maxmemory-policy "+h.Policy+") and lose counted unattended calls: set "+store.NoEviction)
	}
	return all
}

// watchRedis logs what changes in the state of Redis, until ctx ends.
func (p *program) watchRedis(ctx context.Context) {
	defer recovery.Recover(ctx, p.log)
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	last := store.Health{State: store.Usable}
	for {
		now := p.redisHealth(ctx)
		if ctx.Err() != nil {
			return
		}
		if now.State == store.Unreachable {
			now.Policy = last.Policy // it cannot say
		}
		p.telemetry.Redis(telemetry.RedisState{State: string(now.State), Usable: now.State == store.Usable, Evicts: now.Evicts()})
		if now != last {
			p.logRedis(ctx, now)
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *program) logRedis(ctx context.Context, h store.Health) {
	attrs := []slog.Attr{slog.String("state", string(h.State))}
	if h.Policy != "" {
		attrs = append(attrs, slog.String("maxmemory_policy", h.Policy))
	}
	if all := redisWarnings(h); len(all) > 0 {
		attrs = append(attrs, slog.Any("warnings", all))
	}
	switch {
	case h.State != store.Usable:
		p.log.LogAttrs(ctx, slog.LevelWarn, "redis not usable", attrs...)
	case h.Evicts():
		p.log.LogAttrs(ctx, slog.LevelWarn, "redis may evict keys", attrs...)
	default:
		p.log.LogAttrs(ctx, slog.LevelInfo, "redis connected", attrs...)
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// cacheWarnings says whether other gateways encrypt cached data under keys that this one does not have.
func (p *program) cacheWarnings() []string {
	if !p.secrets.lists.Unreadable() {
		return nil
	}
	return []string{"cached data is encrypted under an unknown key: give all gateways the same cache.encryptionKeyFile"}
}
