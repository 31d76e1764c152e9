// Package api is the gateway's REST API over gin: it reads what callers ask, lets internal/gateway answer, and
// writes answers and problems as api/openapi.yaml describes them. Its own types stand between the contract and
// the canonical ones. cmd serves its handler.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/auth"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// A Reader answers queries for account information.
type AccountReader interface {
	Check(q canonical.Query) []canonical.FieldError
	Accounts(ctx context.Context, client string, q canonical.Query, w gateway.CacheControl) (gateway.AccountsResult, error)
	Balances(ctx context.Context, client string, q canonical.Query, account string) (gateway.BalancesResult, error)
}

// A Directory knows the configured ASPSPs.
type Directory interface {
	ASPSPs() []gateway.ASPSPInfo
	ASPSP(id string) (gateway.ASPSPInfo, bool)
}

// A Ledger knows what was counted and what is kept for a consent.
type UsageReader interface {
	UnattendedAccess(ctx context.Context, q canonical.Query, account string) (unattended.Usage, error)
	Forget(ctx context.Context, client string, q canonical.Query) error
}

// A Gateway is all that the API asks; *gateway.Gateway is one.
type Gateway interface {
	AccountReader
	Directory
	UsageReader
}

var _ Gateway = (*gateway.Gateway)(nil)

// Callers know who may call, and how often; *auth.Callers is one.
type Callers interface {
	Authenticate(ctx context.Context, shown auth.Credential) (auth.Client, error)
	AllowRate(client auth.Client) error
}

var _ Callers = (*auth.Authenticator)(nil)

// An Observer is told of every request, for traces and metrics. The context that it returns is the one of all
// that is done for the request; its function is called once, when the request has been answered.
type Observer interface {
	Request(ctx context.Context, method string, header http.Header) (context.Context, func(event.Request))
	// Refused is told of a request that found no place under a bound. The id is the one that was asked for, if any.
	Refused(ctx context.Context, aspsp string, by bulkhead.Refusal)
	// TraceID is the id of the request's trace; "" if it is not traced.
	TraceID(ctx context.Context) string
}

// Config is what the API is made of.
type Config struct {
	Gateway        Gateway
	Callers        Callers
	AllowPrivateIP bool // takes PSU addresses that no user on the internet has
	Now            func() time.Time
	Logger         *slog.Logger
	RecordedLogger *slog.Logger // for requests with an audit record; nil for Logger
	Observer       Observer     // nil for none
	Auditor        Auditor      // nil for none
	Contract       []byte       // the text of openapi.yaml
	InFlight       int          // requests at once in all; below 1 for no bound
	PerClient      int          // of one client, likewise

	// Authenticated is called when the caller of a request is known; nil for no call.
	Authenticated func(context.Context)
}

type server struct {
	Config
	all  *bulkhead.Semaphore
	each *bulkhead.PerKey // by the client's ID
}

// New makes the handler of the whole API. It must be served as it is, since whatever cleans paths on the way
// (http.ServeMux does) changes which account is asked for.
func New(c Config) http.Handler {
	return asSent{newServer(c).engine()}
}

func newServer(c Config) *server {
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Auditor == nil {
		c.Auditor = unaudited{}
	}
	if c.Authenticated == nil {
		c.Authenticated = func(context.Context) {}
	}
	if c.RecordedLogger == nil {
		c.RecordedLogger = c.Logger
	}
	return &server{Config: c, all: bulkhead.NewSemaphore(c.InFlight), each: bulkhead.NewPerKey(c.PerClient)}
}

type unobserved struct{}

func (unobserved) Request(ctx context.Context, _ string, _ http.Header) (context.Context, func(event.Request)) {
	return ctx, func(event.Request) {}
}

func (unobserved) Refused(context.Context, string, bulkhead.Refusal) {}

func (unobserved) TraceID(context.Context) string { return "" }

// asSent lets gin route by the path as the caller wrote it. URL.RawPath is empty where the path is its own
// default encoding (%25, %20); gin would then take the decoded path, and %2541 would become A.
type asSent struct{ next http.Handler }

func (a asSent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawPath == "" {
		url := *r.URL
		url.RawPath = r.URL.EscapedPath()
		r = r.WithContext(r.Context()) // a copy: the request is not ours to change
		r.URL = &url
	}
	a.next.ServeHTTP(w, r)
}

// engine is gin with all routes. Handlers answer through the one door, and never with c.Error.
func (s *server) engine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.UseRawPath, e.UnescapePathValues = true, false
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	e.HandleMethodNotAllowed = true
	e.Use(s.record)
	e.NoRoute(s.door(refuse(canonical.NotFound)))
	e.NoMethod(s.door(refuse(canonical.MethodNotAllowed)))
	s.routes(e)
	return e
}

func (s *server) routes(e *gin.Engine) {
	safe(e, "/openapi.yaml", s.door(s.contract))
	safe(e, "/v1/aspsps", s.call(call{}, s.aspsps))
	safe(e, "/v1/aspsps/:aspspId", s.call(call{}, s.aspsp))
	e.GET("/v1/aspsps/:aspspId/accounts",
		s.call(call{scope: config.ScopeAccounts, consent: true, asks: true, counted: true}, s.accounts))
	e.GET("/v1/aspsps/:aspspId/accounts/:accountId/balances",
		s.call(call{scope: config.ScopeBalances, consent: true, asks: true, counted: true}, s.balances))
	safe(e, "/v1/aspsps/:aspspId/unattended-access",
		s.call(call{scope: config.ScopeAccounts, consent: true, counted: true, accountQuery: true}, s.unattendedAccess))
	e.DELETE("/v1/aspsps/:aspspId/cached-data",
		s.call(call{scope: config.ScopeAccounts, consent: true}, s.forget))
}

// safe adds a route that costs nothing, and so answers HEAD as well. HEAD of a list or of balances would cost a slot.
func safe(e *gin.Engine, path string, h gin.HandlerFunc) {
	e.GET(path, h)
	e.HEAD(path, h)
}
