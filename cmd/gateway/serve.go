package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

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
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/secretwatch"
	"ais-gateway/internal/store"
	"ais-gateway/internal/telemetry"
	"ais-gateway/internal/unattended"
)

const (
	// Callers have this long for their headers, and for a request as a whole; no call has a body.
	headerTimeout, readTimeout = 5 * time.Second, 10 * time.Second
	idleTimeout                = 2 * time.Minute
	maxHeader                  = 32 << 10
	// Connections of callers at once: so many for each request in flight, and these besides.
	connections, spareConnections = 4, 64
	// answerMargin is what an answer may take beyond what providers have.
	answerMargin = 10 * time.Second
	// flushTimeout is how long telemetry may hold up the end of the program: a part of answerMargin.
	flushTimeout = 5 * time.Second
)

// serve runs the service until ctx ends, and then lets what is under way come to its end. The log has its error.
func serve(ctx context.Context, file string, stdout io.Writer) error {
	ignoreSignals()
	c, err := load(file)
	if err != nil {
		return logFailure(stdout, err)
	}
	p, err := assemble(ctx, c, stdout)
	if err != nil {
		return logFailure(stdout, err)
	}
	defer p.reloadOnHangup()()
	return p.run(ctx)
}

// A program is the gateway with all its parts, listening.
type program struct {
	log        *slog.Logger
	telemetry  *telemetry.Telemetry
	audit      *audit.Log
	recorded   *slog.Logger   // for requests whose audit record is their log line, too
	lines      *output.Queue  // of the log
	logLines   *output.Writer // of log lines into it
	store      *store.Store
	units      *unattended.UnitStats
	gateway    *gateway.Gateway
	callers    *auth.Authenticator
	api, admin *http.Server
	listen     [2]net.Listener // of api and admin
	patience   time.Duration   // how long an answer may take
	drainFor   time.Duration   // how long requests are still taken once the gateway is to end
	local      bool            // the admin address is a loopback one
	secure     *secure         // nil where the API is plain HTTP
	secrets    secrets
	renewal    *secretwatch.Watcher
	draining   atomic.Bool
	warnings   warnings
	files      *files
	profiling  bool
}

// assemble builds the program from the inside out, and opens its ports.
func assemble(ctx context.Context, c *config.Config, logs io.Writer) (_ *program, err error) {
	p := &program{patience: answerMargin, drainFor: c.Server.DrainFor, profiling: c.Server.Profiling}
	p.openLog(c, logs)
	defer func() {
		if err != nil {
			_ = flushed(p.lines)
		}
	}()
	if p.telemetry, err = telemetry.Start(ctx, telemetry.Options{
		Version: buildVersion(), LogOutput: p.logLines, LogLevel: c.Log.Level.Slog(), ASPSPs: aspspIDs(c), Secrets: partNames(c), Bounds: boundsOf(c),
	}); err != nil {
		return nil, err
	}
	p.log = p.telemetry.Logger()
	p.files = &files{log: p.log, telemetry: p.telemetry, now: time.Now}
	if err = p.openAudit(c); err != nil {
		return nil, err
	}
	if p.store, err = store.Open(c.Redis, p.telemetry); err != nil {
		return nil, err
	}
	if p.gateway, err = p.assembleGateway(c); err != nil {
		p.store.Close()
		return nil, err
	}
	p.telemetry.ObserveBreakers(p.breakers)
	p.telemetry.ObserveUnits(p.units.Count)
	p.telemetry.ObserveCertificates(p.ends)
	p.telemetry.Know(api.Templates()...)
	p.callers = auth.New(auth.Config{Clients: c.Clients, Now: time.Now, Logger: p.log, Pseudonym: p.audit.Pseudonym})
	idle := newIdlers(mostConnections(c.Server.Limits.InFlight) / 2)
	handler := api.New(api.Config{
		Gateway: p.gateway, Callers: p.callers, AllowPrivateIP: c.PSU.AllowPrivateIP, Now: time.Now,
		Logger: p.log, RecordedLogger: p.recorded, Observer: p.telemetry, Auditor: p.audit, Contract: contract.Contract,
		InFlight: c.Server.Limits.InFlight, PerClient: c.Server.Limits.PerClient, Authenticated: idle.authenticated,
	})
	p.tellClosed(ctx, c.Unattended)
	warnOfFiles(c)
	p.warnOfConfig(ctx, c)
	p.api = p.server(handler, idle, func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError) {
		handler.ServeHTTP(w, r.WithContext(api.Misframed(r.Context(), fault)))
	})
	p.admin = p.server(p.adminHandler(), newIdlers(mostAdminIdle), refuseAdmin)
	p.secure = secured(p.api, c.Server.TLS)
	p.secrets.setKeys = p.callers.SetKeys
	p.renewal = secretwatch.New(p.log, p.renewed, p.parts(c))
	p.telemetry.ObserveStale(p.renewal.Stale)
	p.warnings.add(p.staleSecrets)
	p.warnings.add(p.cacheWarnings)
	for i, address := range []string{c.Server.Address, c.Server.AdminAddress} {
		if p.listen[i], err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			p.store.Close()
			return nil, fmt.Errorf("listening on %s: %w", address, err)
		}
		p.listen[i] = p.files.watched(p.listen[i])
	}
	p.listen[0] = netutil.LimitListener(p.listen[0], mostConnections(c.Server.Limits.InFlight))
	p.local = loopback(p.listen[1].Addr())
	return p, nil
}

// mostConnections are as many as that many requests at once can need, and some for those who keep theirs open or are slow
// with their headers: connections without an end would take the files that calls to banks need.
func mostConnections(inFlight int) int { return connections*inFlight + spareConnections }

func aspspIDs(c *config.Config) []string {
	ids := make([]string, len(c.ASPSPs))
	for i, a := range c.ASPSPs {
		ids[i] = a.ID
	}
	return ids
}

func (p *program) assembleGateway(c *config.Config) (*gateway.Gateway, error) {
	keys := c.Cache.Keys()
	if len(keys) == 0 { // an embedded Redis ends with the process, and so may its key
		keys = [][]byte{make([]byte, 32)}
		if _, err := rand.Read(keys[0]); err != nil {
			return nil, err
		}
	}
	lists, err := cache.New(p.store.Cache, keys)
	if err != nil {
		return nil, err
	}
	policies := c.Policies()
	p.units = unattended.NewUnitStats(p.store.Cache, policies)
	counter := unattended.New(p.store.Counter, policies).WithReplicas(c.Redis.WaitReplicas).WithUnitStats(p.units)
	p.secrets.lists = lists
	p.secrets.connect = func(u upstream.Config) *upstream.Transport {
		u.Counter, u.Observer, u.Now = counter, p.telemetry, time.Now
		u.Routes, u.OutOfFiles = p.telemetry.Know, p.files.out
		return upstream.New(u)
	}
	opened, faults := openAdapters(c, p.secrets.connect)
	if len(faults) > 0 {
		return nil, faults
	}
	p.secrets.readers = readers(opened)
	banks := make([]gateway.ASPSP, len(c.ASPSPs))
	for i, a := range c.ASPSPs {
		timeout := c.Providers[a.Provider].Timeout
		banks[i] = gateway.ASPSP{ASPSP: a, Adapter: p.secrets.readers[a.Provider], Timeout: timeout}
		// One read of another gateway's may be waited for before one of our own is made.
		p.patience = max(p.patience, 2*timeout+answerMargin)
	}
	return gateway.New(gateway.Config{
		ASPSPs: banks, Cache: lists, Counter: counter, RedisBudget: gateway.RedisBudget, Now: time.Now, Logger: p.log, Observer: p.telemetry,
		MaxWaiting: c.Server.Limits.InFlight, MaxPerClient: c.Server.Limits.PerClient, MaxCallsPerASPSP: c.Server.Limits.PerASPSP,
	}), nil
}

func (p *program) server(h http.Handler, idle *idlers, refuse refusal) *http.Server {
	return &http.Server{
		Handler: p.parting(framed(h, refuse), idle), ConnContext: withConnection, ConnState: idle.state, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: p.patience,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(quiet{p.log.Handler()}, slog.LevelWarn),
	}
}

// run serves until ctx ends, then drains: it says that it is to end, later takes no new requests, ends those it has, and the
// calls that nobody waits for any more but that were counted.
func (p *program) run(ctx context.Context) error {
	failed := make(chan error, 2)
	go func() { failed <- p.secure.serve(p.api, p.listen[0]) }()
	go func() { failed <- p.admin.Serve(connectionListener{Listener: p.listen[1]}) }()
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // requests are served when ctx has ended, too
	defer unwatch()
	go p.watchRedis(watching)
	p.background(watching, p.renewal.Run)
	p.background(watching, p.callers.Run)
	p.background(watching, p.units.Run)
	p.log.InfoContext(ctx, "serving", "version", buildVersion(), "address", p.apiAddress(), "admin_address", p.adminAddress())
	var err error
	select {
	case <-ctx.Done():
		p.log.Info("draining")
		err = p.linger(failed)
	case err = <-failed:
		p.draining.Store(true)
	}
	patient, cancel := context.WithTimeout(context.Background(), p.patience-flushTimeout-2*outputTimeout)
	defer cancel()
	err = errors.Join(err, p.api.Shutdown(patient), p.gateway.Drain(patient), p.admin.Shutdown(patient))
	unwatch()
	p.units.Flush(patient)
	p.store.Close()
	err = errors.Join(err, p.audit.Close())
	if err != nil {
		p.log.Error("stopped with an error", "cause", err.Error())
		err = errLogged
	} else {
		p.log.Info("stopped")
	}
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if p.telemetry.Shutdown(flush) != nil {
		p.log.Warn("telemetry was lost") // which is no reason to have failed
	}
	_ = flushed(p.lines) // nor is an output that is not read
	return err
}

// background runs what goes on beside the requests. A panic there ends it, and not the program.
func (p *program) background(ctx context.Context, run func(context.Context)) {
	go func() {
		defer recovery.Recover(ctx, p.log)
		run(ctx)
	}()
}

func (p *program) apiAddress() string   { return p.listen[0].Addr().String() }
func (p *program) adminAddress() string { return p.listen[1].Addr().String() }

func (p *program) breakers() map[string]breaker.State {
	states := map[string]breaker.State{}
	for _, a := range p.gateway.ASPSPs() {
		states[a.ID] = a.Breaker
	}
	return states
}

// quiet drops what net/http says of single connections: it names callers' addresses. That no file was left for one, the
// listener has reported.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "too many open files") {
		return nil
	}
	r.Message = "client connection failed"
	return q.Handler.Handle(ctx, r)
}
