package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"ais-gateway/internal/server"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
)

const (
	// redisTimeout limits one check of Redis.
	redisTimeout = 500 * time.Millisecond
	// redisInterval is the time between checks of Redis for the log and the metrics.
	redisInterval = 5 * time.Second
)

// redisMonitor checks the state of Redis.
type redisMonitor struct {
	store     *store.Store
	log       *slog.Logger
	telemetry *telemetry.Telemetry
}

// check returns the state of Redis within redisTimeout.
func (m *redisMonitor) check(ctx context.Context) store.Health {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	return m.store.Health(ctx)
}

// run logs changes of the state of Redis until ctx ends.
func (m *redisMonitor) run(ctx context.Context) {
	ticker := time.NewTicker(redisInterval)
	defer ticker.Stop()
	last := store.Health{State: store.Usable}
	for {
		health := m.check(ctx)
		if ctx.Err() != nil {
			return
		}
		if health.State == store.Unreachable {
			health.Policy = last.Policy // which it cannot report
		}
		m.telemetry.Redis(telemetry.RedisState{State: string(health.State), Usable: health.State == store.Usable, Evicts: health.Evicts()})
		if health != last {
			m.logState(ctx, health)
		}
		last = health
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (m *redisMonitor) logState(ctx context.Context, h store.Health) {
	attrs := []slog.Attr{slog.String("state", string(h.State))}
	if h.Policy != "" {
		attrs = append(attrs, slog.String("maxmemory_policy", h.Policy))
	}
	if all := redisWarnings(h); len(all) > 0 {
		attrs = append(attrs, slog.Any("warnings", all))
	}
	switch {
	case h.State != store.Usable:
		m.log.LogAttrs(ctx, slog.LevelWarn, "redis not usable", attrs...)
	case h.Evicts():
		m.log.LogAttrs(ctx, slog.LevelWarn, "redis may evict keys", attrs...)
	default:
		m.log.LogAttrs(ctx, slog.LevelInfo, "redis connected", attrs...)
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

// health returns the state that /readyz reports.
func (a *app) health(ctx context.Context) server.Health {
	h := a.redis.check(ctx)
	return server.Health{Redis: string(h.State), Policy: h.Policy, Warnings: slices.Concat(redisWarnings(h), a.warnings.now())}
}
