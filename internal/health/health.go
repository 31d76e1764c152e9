// Package health checks whether a gateway can do its work, for /readyz, the log and the metrics:
// the state of Redis, and warnings for the operator about its configuration, secrets, log and audit
// records.
package health

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/output"
	"ais-gateway/internal/secretwatch"
	"ais-gateway/internal/server"
	"ais-gateway/internal/store"
)

const (
	// redisTimeout limits one check of Redis.
	redisTimeout = 500 * time.Millisecond
	// redisInterval is the time between checks of Redis for the log and the metrics.
	redisInterval = 5 * time.Second
)

// A Monitor checks the parts of a gateway. All fields are required.
type Monitor struct {
	// Store is checked for each call of Health, and by Run.
	Store         *store.Store
	LogLines      *output.Writer
	Audit         *audit.Log
	Secrets       *secretwatch.Watcher
	Cache         *cache.Cache
	RiskyConfig   []string // what CheckConfig returned
	Logger        *slog.Logger
	OnRedisHealth func(store.Health) // called by Run after each check
}

// Health returns the state that /readyz reports, within redisTimeout.
func (m *Monitor) Health(ctx context.Context) server.Health {
	h := m.checkRedis(ctx)
	return server.Health{Redis: string(h.State), Policy: h.Policy, Warnings: slices.Concat(redisWarnings(h), m.warnings())}
}

// Run checks Redis every redisInterval and logs changes of its state until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	ticker := time.NewTicker(redisInterval)
	defer ticker.Stop()
	last := store.Health{State: store.Usable}
	for {
		health := m.checkRedis(ctx)
		if ctx.Err() != nil {
			return
		}
		if health.State == store.Unreachable {
			health.Policy = last.Policy // which it cannot report
		}
		m.OnRedisHealth(health)
		if health != last {
			m.logRedis(ctx, health)
		}
		last = health
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// checkRedis returns the state of Redis; it is Unreachable if Redis does not respond within
// redisTimeout.
func (m *Monitor) checkRedis(ctx context.Context) store.Health {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	return m.Store.Health(ctx)
}

// logRedis logs a state of Redis with its warnings: as a warning unless Redis can be used and keeps
// all keys.
func (m *Monitor) logRedis(ctx context.Context, h store.Health) {
	attrs := []slog.Attr{slog.String("state", string(h.State))}
	if h.Policy != "" {
		attrs = append(attrs, slog.String("maxmemory_policy", h.Policy))
	}
	if all := redisWarnings(h); len(all) > 0 {
		attrs = append(attrs, slog.Any("warnings", all))
	}
	switch {
	case h.State != store.Usable:
		m.Logger.LogAttrs(ctx, slog.LevelWarn, "redis not usable", attrs...)
	case h.Evicts():
		m.Logger.LogAttrs(ctx, slog.LevelWarn, "redis may evict keys", attrs...)
	default:
		m.Logger.LogAttrs(ctx, slog.LevelInfo, "redis connected", attrs...)
	}
}

// redisWarnings returns the operator's warnings about Redis.
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

// warnings returns the current warnings about everything but Redis, one sentence each, without
// personal data. It does not block, because every probe calls it.
func (m *Monitor) warnings() []string {
	var all []string
	if m.LogLines.State().Failing {
		all = append(all, "log lines cannot be written and are lost")
	}
	switch s := m.Audit.State(); {
	case !s.Enabled:
		all = append(all, "audit records are off")
	case s.Failing:
		all = append(all, "audit records cannot be written and are lost")
	}
	all = append(all, m.RiskyConfig...)
	stale := m.Secrets.Stale()
	for _, name := range slices.Sorted(maps.Keys(stale)) {
		if stale[name] {
			all = append(all, "secrets of "+name+" could not be reloaded, the previous ones are still in use: the log lists the faults")
		}
	}
	if m.Cache.Unreadable() { // other gateways encrypt with a key that this one does not have
		all = append(all, "cached data is encrypted under an unknown key: give all gateways the same cache.encryptionKeyFile")
	}
	return all
}
