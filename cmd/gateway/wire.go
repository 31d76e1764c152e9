package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	contract "ais-gateway/api"
	"ais-gateway/internal/accountkey"
	"ais-gateway/internal/adapters"
	"ais-gateway/internal/aggregation/repeat"
	"ais-gateway/internal/aggregation/runner"
	"ais-gateway/internal/api"
	"ais-gateway/internal/audit"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/health"
	"ais-gateway/internal/output"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/secretwatch"
	"ais-gateway/internal/server"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
	"ais-gateway/internal/unattended"
	"ais-gateway/internal/unattended/unitstats"
)

// outputRoom is the number of bytes of log lines and records that may wait to be written, in
// addition to a record for each request in progress.
const outputRoom = 4 << 20

// app is a gateway with all its parts and open ports. Parts do not know each other beyond their
// interfaces: app connects them.
type app struct {
	log        *slog.Logger
	logQueue   *output.Queue
	logWriter  *output.Writer // of log lines, into logQueue
	requestLog *slog.Logger   // for requests whose audit record is also their log line
	telemetry  *telemetry.Telemetry
	audit      *audit.Log
	store      *store.Store
	cache      *cache.Cache
	adapters   *adapters.Set
	unitStats  *unitstats.Stats // of the unattended limit, for a gauge
	gateway    *gateway.Gateway
	aggregator *repeat.Aggregator
	auth       *auth.Authenticator
	server     *server.Server
	secrets    *secretwatch.Watcher // reloads secrets
	health     *health.Monitor      // for /readyz

	writeTimeout time.Duration // maximum duration of a request up to the end of its response
}

// newApp makes the parts of a gateway in the order in which they need each other, and opens its
// ports. It returns config.Faults if the configuration has faults, or the error of the part that
// cannot be opened.
func newApp(ctx context.Context, c *config.Config, logs io.Writer) (_ *app, err error) {
	a := &app{writeTimeout: responseMargin, logQueue: newQueue(c, logs)}
	defer func() { // writes the lines that say why the start failed
		if err != nil {
			_ = a.logQueue.Close()
		}
	}()
	a.logWriter = a.logQueue.Writer(nil, func(lost int64) { a.log.Warn("log lines lost", "lost", lost) })
	if a.telemetry, err = telemetry.Start(ctx, telemetryOptions(c, a.logWriter)); err != nil {
		return nil, err
	}
	a.log = a.telemetry.Logger()
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
	if err = a.openGateway(c); err != nil {
		return nil, err
	}
	a.auth = auth.New(auth.Config{Clients: c.Clients, Now: time.Now, Logger: a.log, Pseudonym: a.audit.Pseudonym})
	risky := health.CheckConfig(ctx, a.log, c)
	a.secrets = secretwatch.New(a.log, a.telemetry.Reload, a.reloadable(c))
	a.health = &health.Monitor{
		Store: a.store, LogLines: a.logWriter, Audit: a.audit, Secrets: a.secrets, Cache: a.cache, RiskyConfig: risky,
		Logger: a.log, OnRedisHealth: a.telemetry.Redis,
	}
	if a.server, err = server.Listen(ctx, a.serverConfig(c)); err != nil {
		return nil, err
	}
	a.observe() // last, because its callbacks use all parts
	return a, nil
}

// newQueue returns a queue of log lines or records. What waits in it is lost if the process is
// killed.
func newQueue(c *config.Config, to io.Writer) *output.Queue {
	return output.New(output.Config{
		To: to, Room: outputRoom + c.Server.Limits.InFlight*audit.MaxLine, Keep: c.Audit.WhenFull == config.AuditRefuse,
	})
}

// telemetryOptions returns the closed lists from which labels of metrics come, and the output of
// log lines.
func telemetryOptions(c *config.Config, logs io.Writer) telemetry.Options {
	ids := make([]string, len(c.ASPSPs))
	for i, aspsp := range c.ASPSPs {
		ids[i] = aspsp.ID
	}
	l := c.Server.Limits
	return telemetry.Options{
		Version: buildVersion(), LogOutput: logs, LogLevel: c.Log.Level.Slog(), ASPSPs: ids, Secrets: secretwatch.Names(c),
		Limits: map[string]int{"in_flight": l.InFlight, "client": l.PerClient, "aspsp": l.PerASPSP},
	}
}

// openAudit opens the output of audit records. With output stdout they go where the log goes, and
// are the log lines of their requests as well: then requestLog only exports these lines. It returns
// the error of making a key.
func (a *app) openAudit(c *config.Config) error {
	key, err := audit.Key(c.Audit.Key(), c.Cache.Keys())
	if err != nil {
		return err
	}
	a.requestLog = a.log
	var sink io.WriteCloser
	var queue *output.Queue
	switch c.Audit.Output {
	case config.AuditStdout:
		queue, a.requestLog = a.logQueue, a.telemetry.Exported()
	case config.AuditStderr:
		sink = audit.Stream(os.Stderr)
	case config.AuditFile:
		sink = audit.File(c.Audit.File)
	case config.AuditOff:
	}
	if sink != nil {
		queue = newQueue(c, sink)
	}
	a.audit = audit.Open(audit.Config{
		Sink: sink, Queue: queue, Key: key, Refuse: c.Audit.WhenFull == config.AuditRefuse, Now: time.Now, Logger: a.log,
		TraceIDs: a.telemetry.IDs,
	})
	return nil
}

// openGateway makes the gateway, its cache, counter and adapters. Every call to a provider goes
// through a transport that takes a slot of the counter and reports to telemetry. It sets
// writeTimeout to the longest request that the configured timeouts allow. It returns config.Faults
// if an adapter cannot be opened.
func (a *app) openGateway(c *config.Config) (err error) {
	keys := c.Cache.Keys()
	if len(keys) == 0 { // an embedded Redis ends with the process, so its key can, too
		keys = [][]byte{make([]byte, 32)}
		if _, err := rand.Read(keys[0]); err != nil {
			return err
		}
	}
	if a.cache, err = cache.New(a.store.Cache, keys); err != nil {
		return err
	}
	a.cache.WithAccountKeys(accountkey.New(c.Accounts.Key()))
	policies := c.Policies()
	a.unitStats = unitstats.New(a.store.Cache, policies)
	counter := unattended.New(a.store.Counter, policies).WithReplicas(c.Redis.WaitReplicas).WithUnitStats(a.unitStats)
	var faults config.Faults
	a.adapters, faults = table.Open(c, func(u upstream.Config) *upstream.Transport {
		u.Counter, u.Observer, u.Now = counter, a.telemetry, time.Now
		u.Routes, u.OutOfFiles = a.telemetry.AllowTemplates, a.telemetry.OutOfFiles
		return upstream.New(u)
	})
	if len(faults) > 0 {
		return faults
	}
	aspsps := make([]gateway.ASPSP, len(c.ASPSPs))
	for i, entry := range c.ASPSPs {
		timeout := c.Providers[entry.Provider].Timeout
		aspsps[i] = gateway.ASPSP{ASPSP: entry, Adapter: a.adapters.Provider(entry.Provider), Timeout: timeout}
		// A request may wait for one read of another gateway before it makes its own.
		a.writeTimeout = max(a.writeTimeout, 2*timeout+responseMargin)
	}
	a.gateway = gateway.New(gateway.Config{
		ASPSPs: aspsps, Cache: a.cache, Counter: counter, RedisBudget: gateway.RedisBudget, Now: time.Now, Logger: a.log, Observer: a.telemetry,
		MaxWaiting: c.Server.Limits.InFlight, MaxPerClient: c.Server.Limits.PerClient, MaxCallsPerASPSP: c.Server.Limits.PerASPSP,
	})
	a.aggregator = repeat.New(repeat.Config{Cache: a.cache, Logger: a.log, Runner: runner.New(runner.Config{
		Gateway: a.gateway, Logger: a.log, Observer: a.telemetry.Aggregations(),
	})})
	return nil
}

// reloadable returns the secrets with the functions that put their current content into use: the
// secrets of each provider, the cache's keys, the API's TLS files, and the API keys.
func (a *app) reloadable(c *config.Config) []secretwatch.Secret {
	var all []secretwatch.Secret
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		all = append(all, secretwatch.Part(name, c, "providers."+name, a.adapters.Files(name),
			func(now *config.Config) error { return a.adapters.Reload(name, now) }))
	}
	return append(all,
		secretwatch.Part(secretwatch.CacheKeys, c, "cache", config.Files(c.Cache),
			func(now *config.Config) error { return a.cache.SetKeys(now.Cache.Keys()) }),
		secretwatch.Part(secretwatch.ServerTLS, c, "server.tls", config.Files(c.Server.TLS), func(now *config.Config) error {
			a.server.ReloadTLS(now.Server.TLS.Server())
			return nil
		}),
		secretwatch.Clients(c, a.log, a.auth.SetKeys))
}

// serverConfig returns the configuration of the two servers: the API with its observers, and the
// admin endpoints.
func (a *app) serverConfig(c *config.Config) server.Config {
	handler := api.New(api.Config{
		Gateway: a.gateway, Aggregator: a.aggregator, Callers: a.auth, AllowPrivateIP: c.PSU.AllowPrivateIP, Now: time.Now,
		Logger: a.log, RecordedLogger: a.requestLog, Observer: a.telemetry, Auditor: a.audit, Contract: contract.Contract,
		InFlight: c.Server.Limits.InFlight, PerClient: c.Server.Limits.PerClient, Authenticated: server.MarkAuthenticated,
	})
	return server.Config{
		Address: c.Server.Address, AdminAddress: c.Server.AdminAddress, API: handler, TLS: c.Server.TLS.Server(),
		Refuse: func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError) {
			handler.ServeHTTP(w, r.WithContext(api.Misframed(r.Context(), fault)))
		},
		Metrics: a.telemetry.MetricsHandler(), Health: a.health.Health, Profiling: c.Server.Profiling,
		InFlight: c.Server.Limits.InFlight, WriteTimeout: a.writeTimeout, DrainFor: c.Server.DrainFor,
		Logger: a.log, OnAcceptError: func(err error) {
			if upstream.OutOfFiles(err) {
				a.telemetry.OutOfFiles(context.Background(), "")
			}
		},
	}
}

// observe gives telemetry what its gauges read at each collection.
func (a *app) observe() {
	a.telemetry.ObserveBreakers(a.gateway.ASPSPs)
	a.telemetry.ObserveUnits(a.unitStats.Count)
	a.telemetry.ObserveCertificates(func() map[string]time.Time {
		all := a.adapters.NotAfter()
		for _, c := range a.server.Certificates() {
			all[secretwatch.ServerTLS] = providers.EarliestExpiry(c.Certificate)
		}
		return all
	})
	a.telemetry.ObserveStale(a.secrets.Stale)
	a.telemetry.ObserveLog(func() int64 { return a.logWriter.State().Lost })
	a.telemetry.ObserveAudit(func() (enabled bool, failures int64) {
		s := a.audit.State()
		return s.Enabled, s.Failures
	})
	a.telemetry.AllowTemplates(api.Templates()...)
}
