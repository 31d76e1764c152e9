package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"ais-gateway/internal/rescue"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
)

const (
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
	mux.Handle("GET /metrics", p.telemetry.MetricsHandler())
	return mux
}

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
		all = append(all, "redis is "+string(h.State)+": unattended calls are refused, account lists are not kept")
	}
	if h.Evicts() {
		all = append(all, "redis may evict keys (maxmemory-policy "+h.Policy+"), and with them unattended calls that were counted: set "+store.NoEviction)
	}
	return all
}

// watchRedis logs what changes in the state of Redis, until ctx ends.
func (p *program) watchRedis(ctx context.Context) {
	defer rescue.Catch(ctx, p.log)
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
	level := slog.LevelInfo
	if h.State != store.Usable || h.Evicts() {
		level = slog.LevelWarn
	}
	p.log.Log(ctx, level, "redis", "state", string(h.State), "maxmemory_policy", h.Policy, "warnings", redisWarnings(h))
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
