package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"time"

	contract "ais-gateway/api"
	"ais-gateway/internal/api"
	"ais-gateway/internal/audit"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/output"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/secretwatch"
	"ais-gateway/internal/server"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
	"ais-gateway/internal/unattended"
)

// app is the gateway with all its parts, its ports open.
type app struct {
	log        *slog.Logger
	logQueue   *output.Queue
	logWriter  *output.Writer // of log lines, into logQueue
	requestLog *slog.Logger   // for requests whose audit record is also their log line
	telemetry  *telemetry.Telemetry
	audit      *audit.Log
	store      *store.Store
	redis      *redisMonitor
	unitStats  *unattended.UnitStats
	gateway    *gateway.Gateway
	auth       *auth.Authenticator
	server     *server.Server
	secrets    secrets
	watcher    *secretwatch.Watcher
	warnings   warnings
	openFiles  *openFiles

	writeTimeout time.Duration // maximum duration of a request up to the end of its response
}

// newApp makes the parts of a gateway in the order in which they need each other, and opens its ports.
func newApp(ctx context.Context, c *config.Config, logs io.Writer) (_ *app, err error) {
	a := &app{writeTimeout: responseMargin}
	a.openLog(c, logs)
	defer func() {
		if err != nil {
			_ = closeQueue(a.logQueue)
		}
	}()
	if a.telemetry, err = telemetry.Start(ctx, telemetry.Options{
		Version: buildVersion(), LogOutput: a.logWriter, LogLevel: c.Log.Level.Slog(), ASPSPs: aspspIDs(c), Secrets: secretNames(c), Limits: concurrencyLimits(c),
	}); err != nil {
		return nil, err
	}
	a.log = a.telemetry.Logger()
	a.openFiles = &openFiles{log: a.log, telemetry: a.telemetry, now: time.Now}
	if err = a.openAudit(c); err != nil {
		return nil, err
	}
	if a.store, err = store.Open(c.Redis, a.telemetry); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.store.Close()
		}
	}()
	a.redis = &redisMonitor{store: a.store, log: a.log, telemetry: a.telemetry}
	if a.gateway, err = a.newGateway(c); err != nil {
		return nil, err
	}
	a.auth = auth.New(auth.Config{Clients: c.Clients, Now: time.Now, Logger: a.log, Pseudonym: a.audit.Pseudonym})
	a.secrets.setKeys = a.auth.SetKeys
	a.logBlocked(ctx, c.Unattended)
	warnOfFileLimit(c)
	a.warnOfConfig(ctx, c)
	a.watcher = secretwatch.New(a.log, a.countReload, a.reloadableSecrets(c))
	a.warnings.add(a.staleSecrets)
	a.warnings.add(a.cacheWarnings)
	if a.server, err = server.Listen(ctx, a.serverConfig(c)); err != nil {
		return nil, err
	}
	a.observe()
	return a, nil
}

func (a *app) serverConfig(c *config.Config) server.Config {
	handler := api.New(api.Config{
		Gateway: a.gateway, Callers: a.auth, AllowPrivateIP: c.PSU.AllowPrivateIP, Now: time.Now,
		Logger: a.log, RecordedLogger: a.requestLog, Observer: a.telemetry, Auditor: a.audit, Contract: contract.Contract,
		InFlight: c.Server.Limits.InFlight, PerClient: c.Server.Limits.PerClient, Authenticated: server.MarkAuthenticated,
	})
	return server.Config{
		Address: c.Server.Address, AdminAddress: c.Server.AdminAddress, API: handler, TLS: c.Server.TLS.Server(),
		Refuse: func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError) {
			handler.ServeHTTP(w, r.WithContext(api.Misframed(r.Context(), fault)))
		},
		Metrics: a.telemetry.MetricsHandler(), Health: a.health, Profiling: c.Server.Profiling,
		InFlight: c.Server.Limits.InFlight, WriteTimeout: a.writeTimeout, DrainFor: c.Server.DrainFor,
		Logger: a.log, OnAcceptError: a.openFiles.onAcceptError,
	}
}

func (a *app) newGateway(c *config.Config) (*gateway.Gateway, error) {
	keys := c.Cache.Keys()
	if len(keys) == 0 { // an embedded Redis ends with the process, so its key can, too
		keys = [][]byte{make([]byte, 32)}
		if _, err := rand.Read(keys[0]); err != nil {
			return nil, err
		}
	}
	lists, err := cache.New(a.store.Cache, keys)
	if err != nil {
		return nil, err
	}
	policies := c.Policies()
	a.unitStats = unattended.NewUnitStats(a.store.Cache, policies)
	counter := unattended.New(a.store.Counter, policies).WithReplicas(c.Redis.WaitReplicas).WithUnitStats(a.unitStats)
	a.secrets.lists = lists
	a.secrets.newTransport = func(u upstream.Config) *upstream.Transport {
		u.Counter, u.Observer, u.Now = counter, a.telemetry, time.Now
		u.Routes, u.OutOfFiles = a.telemetry.AllowTemplates, a.openFiles.report
		return upstream.New(u)
	}
	opened, faults := openAdapters(c, a.secrets.newTransport)
	if len(faults) > 0 {
		return nil, faults
	}
	a.secrets.providers = swappableProviders(opened)
	aspsps := make([]gateway.ASPSP, len(c.ASPSPs))
	for i, entry := range c.ASPSPs {
		timeout := c.Providers[entry.Provider].Timeout
		aspsps[i] = gateway.ASPSP{ASPSP: entry, Adapter: a.secrets.providers[entry.Provider], Timeout: timeout}
		// A request may wait for one read of another gateway before it makes its own.
		a.writeTimeout = max(a.writeTimeout, 2*timeout+responseMargin)
	}
	return gateway.New(gateway.Config{
		ASPSPs: aspsps, Cache: lists, Counter: counter, RedisBudget: gateway.RedisBudget, Now: time.Now, Logger: a.log, Observer: a.telemetry,
		MaxWaiting: c.Server.Limits.InFlight, MaxPerClient: c.Server.Limits.PerClient, MaxCallsPerASPSP: c.Server.Limits.PerASPSP,
	}), nil
}

// observe gives telemetry what its gauges read at each collection.
func (a *app) observe() {
	a.telemetry.ObserveBreakers(a.breakers)
	a.telemetry.ObserveUnits(a.unitStats.Count)
	a.telemetry.ObserveCertificates(a.certificateExpiry)
	a.telemetry.ObserveStale(a.watcher.Stale)
	a.telemetry.ObserveLog(func() int64 { return a.logWriter.State().Lost })
	a.telemetry.ObserveAudit(func() (enabled bool, failures int64) {
		s := a.audit.State()
		return s.Enabled, s.Failures
	})
	a.telemetry.AllowTemplates(api.Templates()...)
}

// breakers returns the breaker's state by ASPSP.
func (a *app) breakers() map[string]breaker.State {
	states := map[string]breaker.State{}
	for _, aspsp := range a.gateway.ASPSPs() {
		states[aspsp.ID] = aspsp.Breaker
	}
	return states
}

func aspspIDs(c *config.Config) []string {
	ids := make([]string, len(c.ASPSPs))
	for i, a := range c.ASPSPs {
		ids[i] = a.ID
	}
	return ids
}

// concurrencyLimits returns the values of metric ais.overload.limit by label.
func concurrencyLimits(c *config.Config) map[string]int {
	l := c.Server.Limits
	return map[string]int{"in_flight": l.InFlight, "client": l.PerClient, "aspsp": l.PerASPSP}
}
