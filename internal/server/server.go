// Package server runs the two HTTP servers of a gateway, the API and the admin endpoints, from the
// opening of their ports to their shutdown: connection limits, idle connections, reloadable TLS,
// framing checks and draining.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"ais-gateway/internal/canonical"
)

const (
	// headerTimeout limits the TLS handshake and the header of a request, readTimeout a request as
	// a whole, with its body.
	headerTimeout, readTimeout = 5 * time.Second, 10 * time.Second
	idleTimeout                = 2 * time.Minute
	maxHeaderBytes             = 32 << 10
	// The API accepts connsPerRequest connections for each request in flight, and spareConns more.
	connsPerRequest, spareConns = 4, 64
)

// Config describes both servers.
type Config struct {
	Address, AdminAddress string // host:port; port 0 chooses a free port

	API http.Handler
	// Refuse responds to an API request whose end is ambiguous; fault says why.
	Refuse func(w http.ResponseWriter, r *http.Request, fault canonical.FieldError)
	TLS    *tls.Config // of the API; nil for plain HTTP

	Metrics   http.Handler // GET /metrics
	Health    func(context.Context) Health
	Profiling bool // serve /debug/pprof/ on the admin address

	InFlight int // maximum number of API requests in flight; sets the maximum number of connections
	// WriteTimeout is the maximum duration of a request up to the end of its response. A handler can
	// set another end with http.ResponseController.
	WriteTimeout time.Duration
	DrainFor     time.Duration // how long requests are accepted after the context of Serve has ended
	Logger       *slog.Logger
	// OnAcceptError receives every error of an accept. The server retries after it. nil ignores the
	// errors.
	OnAcceptError func(error)
}

// Server is the API server and the admin server of one gateway.
type Server struct {
	cfg        Config
	api, admin *endpoint
	tls        *tlsReloader // nil for plain HTTP
	draining   atomic.Bool

	endProfiles context.CancelFunc // ends profiles that are being recorded
}

// endpoint is an HTTP server with its open port.
type endpoint struct {
	http     *http.Server
	listener net.Listener
}

// Listen opens the ports of both servers. It returns an error that names the address if a port
// cannot be opened.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, tls: newTLSReloader(cfg.TLS)}
	apiPort, err := listen(ctx, cfg.Address)
	if err != nil {
		return nil, err
	}
	adminPort, err := listen(ctx, cfg.AdminAddress)
	if err != nil {
		return nil, errors.Join(err, apiPort.Close())
	}
	conns := MaxConns(cfg.InFlight)
	s.api = s.newEndpoint(netutil.LimitListener(apiPort, conns), cfg.API, cfg.Refuse, conns/2, s.tls)
	profiling, end := context.WithCancel(context.WithoutCancel(ctx))
	s.endProfiles = end
	s.admin = s.newEndpoint(adminPort, s.adminHandler(profiling, isLoopback(adminPort.Addr())), refuseAdmin, maxAdminIdle, nil)
	return s, nil
}

// listen opens a TCP port. Its error names the address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return l, nil
}

// MaxConns returns the maximum number of connections to the API for a number of requests in flight.
// Without a maximum, clients with idle or slow connections could use up the open files that calls
// to providers need.
func MaxConns(inFlight int) int { return connsPerRequest*inFlight + spareConns }

// newEndpoint returns an HTTP server for a listener. refuse responds to requests whose end is
// ambiguous; at most maxIdle connections are kept idle.
func (s *Server) newEndpoint(l net.Listener, h http.Handler, refuse refuseFunc, maxIdle int, tls *tlsReloader) *endpoint {
	idle := newIdleLimiter(maxIdle)
	server := &http.Server{
		Handler:           tls.closeStaleConns(s.closeOnDrain(checkFraming(h, refuse))),
		ConnContext:       withConn,
		ConnState:         idle.connState,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: s.cfg.WriteTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(connErrorHandler{s.cfg.Logger.Handler()}, slog.LevelWarn),
	}
	return &endpoint{server, &connListener{
		Listener: l, idle: idle, tls: tls, onError: s.cfg.OnAcceptError,
		onHandshakeError: func() { server.ErrorLog.Print("TLS handshake") },
	}}
}

// Addr returns the address on which the API listens.
func (s *Server) Addr() net.Addr { return s.api.listener.Addr() }

// AdminAddr returns the address on which the admin server listens.
func (s *Server) AdminAddr() net.Addr { return s.admin.listener.Addr() }

// Serve accepts requests until ctx ends and Config.DrainFor has passed after that, and returns nil.
// It returns earlier, with the error, if one of the servers fails. Both servers still serve when it
// returns: shut them down.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 2)
	for _, e := range []*endpoint{s.api, s.admin} {
		go func() { failed <- e.http.Serve(e.listener) }()
	}
	defer s.draining.Store(true)
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	s.cfg.Logger.Info("draining")
	return s.waitForBalancers(failed)
}

// ShutdownAPI closes the API's port and waits until its requests have ended, or returns the error
// of ctx.
func (s *Server) ShutdownAPI(ctx context.Context) error { return s.api.http.Shutdown(ctx) }

// ShutdownAdmin closes the admin port, ends profiles that are being recorded, and waits until its
// requests have ended, or returns the error of ctx.
func (s *Server) ShutdownAdmin(ctx context.Context) error {
	s.endProfiles()
	return s.admin.http.Shutdown(ctx)
}

// Close closes both ports. It is for a Server whose Serve is never called.
func (s *Server) Close() error { return errors.Join(s.api.listener.Close(), s.admin.listener.Close()) }

// ReloadTLS makes new connections use another configuration, and closes each older connection after
// its next response. It must only be called if Config.TLS was set.
func (s *Server) ReloadTLS(c *tls.Config) { s.tls.current.Store(c) }

// Certificates returns the API's certificates in use; nil for plain HTTP.
func (s *Server) Certificates() []tls.Certificate {
	if s.tls == nil {
		return nil
	}
	return s.tls.current.Load().Certificates
}

// connErrorHandler replaces net/http's messages about single connections, which contain addresses
// of callers. It drops those about a lack of open files: Config.OnAcceptError receives that error.
type connErrorHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h connErrorHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "too many open files") {
		return nil
	}
	r.Message = "client connection failed"
	return h.Handler.Handle(ctx, r)
}
