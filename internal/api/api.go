// Package api is the gateway's REST API, served with gin. It parses requests (package parse),
// passes queries to internal/gateway, and writes responses and problems (package render) as
// api/openapi.yaml describes them.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// AccountReader answers queries for accounts and balances. Check returns what the ASPSP's provider
// requires and the query lacks.
type AccountReader interface {
	Check(q canonical.Query) []canonical.FieldError
	Accounts(ctx context.Context, client string, q canonical.Query, control gateway.CacheControl) (gateway.AccountsResult, error)
	Balances(ctx context.Context, client string, q canonical.Query, account string) (gateway.BalancesResult, error)
}

// Directory returns the configured ASPSPs.
type Directory interface {
	ASPSPs() []gateway.ASPSPInfo
	ASPSP(id string) (gateway.ASPSPInfo, bool)
}

// UsageReader reads the usage of the unattended limit, and deletes the cached list of a consent.
type UsageReader interface {
	UnattendedAccess(ctx context.Context, call unattended.Call) (unattended.Usage, error)
	DeleteCachedData(ctx context.Context, client string, q canonical.Query) error
}

// Gateway is what the API needs from the gateway; *gateway.Gateway implements it.
type Gateway interface {
	AccountReader
	Directory
	UsageReader
}

var _ Gateway = (*gateway.Gateway)(nil)

// Authenticator identifies clients and limits their request rates; *auth.Authenticator implements
// it.
type Authenticator interface {
	Authenticate(ctx context.Context, credential auth.Credential) (auth.Client, error)
	AllowRate(client auth.Client, tokens int) error
}

// Aggregator reads the accounts and balances of many consents.
type Aggregator interface {
	// Aggregate runs r. It calls ready with the result of each source as soon as it is complete, one
	// call at a time, in any order, and not after it has returned. Its error is a *canonical.Error of
	// the whole request.
	Aggregate(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error)
}

var _ Authenticator = (*auth.Authenticator)(nil)

// Observer observes requests for traces and metrics.
type Observer interface {
	// Request is called at the start of a request. It returns the context to be used for the
	// request, and a function that is called once at its end.
	Request(ctx context.Context, method string, header http.Header) (context.Context, func(event.Request))
	// Refused is called when a limit refuses a request. aspsp is the requested ASPSP id, or "".
	Refused(ctx context.Context, aspsp string, by bulkhead.Refusal)
	// TraceID returns the id of the request's trace, or "" if the trace is not recorded.
	TraceID(ctx context.Context) string
}

// Auditor writes an audit record for every request under /v1, and for every source of an
// aggregation. Its methods do not block.
type Auditor interface {
	// Reserve reserves space for n records of a request: for all, or for none and returns false. Then
	// the request is refused.
	Reserve(n int) bool
	// Write writes an audit record: of a request, or of a source of an aggregation.
	Write(ctx context.Context, r event.Request)
}

// Config configures the API.
type Config struct {
	Gateway        Gateway
	Aggregator     Aggregator
	Callers        Authenticator
	AllowPrivateIP bool // accept PSU-IP-Address values that cannot be the address of a user on the internet
	Now            func() time.Time
	Logger         *slog.Logger
	RecordedLogger *slog.Logger // for requests with an audit record; nil for Logger
	Observer       Observer     // optional
	Auditor        Auditor      // optional
	Contract       []byte       // the text of openapi.yaml
	InFlight       int          // maximum number of requests in progress; below 1 for no maximum
	PerClient      int          // the same for one client

	// Authenticated is called when the client of a request is known. Optional.
	Authenticated func(context.Context)
}

type server struct {
	Config
	inFlight  *bulkhead.Semaphore
	perClient *bulkhead.Limit // by client id
}

// New returns the handler of the API. Do not wrap it in a handler that cleans paths, such as
// http.ServeMux: that would change the account id in the path.
func New(c Config) http.Handler {
	return rawPathHandler{newServer(c).engine()}
}

func newServer(c Config) *server {
	if c.Observer == nil {
		c.Observer = noObserver{}
	}
	if c.Auditor == nil {
		c.Auditor = noAuditor{}
	}
	if c.Authenticated == nil {
		c.Authenticated = func(context.Context) {}
	}
	if c.RecordedLogger == nil {
		c.RecordedLogger = c.Logger
	}
	return &server{Config: c, inFlight: bulkhead.NewSemaphore(c.InFlight), perClient: bulkhead.NewPerKey(c.PerClient)}
}

type noObserver struct{}

func (noObserver) Request(ctx context.Context, _ string, _ http.Header) (context.Context, func(event.Request)) {
	return ctx, func(event.Request) {}
}

func (noObserver) Refused(context.Context, string, bulkhead.Refusal) {}

func (noObserver) TraceID(context.Context) string { return "" }

type noAuditor struct{}

func (noAuditor) Reserve(int) bool { return true }

func (noAuditor) Write(context.Context, event.Request) {}
