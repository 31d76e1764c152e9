// Package providers defines the interface between the gateway and its adapters: Provider, which
// every adapter implements and internal/gateway calls, and Env, which an adapter gets to do so.
// Each adapter is a package below this one.
package providers

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"ais-gateway/internal/canonical"
)

// A Provider reads account information from one upstream system. Its methods are safe for
// concurrent use, return a *canonical.Error for every failure, and never return a partial result:
// every page is read and every record is valid.
type Provider interface {
	// Accounts returns the accounts that the query's consent covers, in the provider's order.
	Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error)
	// Balances returns all balances of one account, and the account's identification. accountID is
	// an Account.ID that Accounts returned: any text of 1 to 256 characters.
	Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error)
}

// A Requirer is a Provider that needs more from a query than the API requires, for example the user's
// access token. The gateway checks it before anything is sent, counted or looked up.
type Requirer interface {
	// Requires returns what the ASPSP needs from a query.
	Requires(aspsp string) Requirements
}

// A CertificateHolder is a Provider that uses certificates: as TLS client, or together with a
// signing key.
type CertificateHolder interface {
	// NotAfter returns the earliest expiry of these certificates and their chains; the zero time if
	// there are none.
	NotAfter() time.Time
}

// Open creates an adapter from its part of the configuration. decode fills the adapter's own config
// type and rejects unknown keys. Open validates all of it and returns every fault together, as
// config.Faults with paths relative to the provider. It does no I/O.
type Open func(decode func(into any) error, env Env) (Provider, error)

// Env is the environment of an adapter: its base URL, its ASPSPs, and its only access to the
// network.
type Env struct {
	BaseURL *url.URL // of the provider, without host if it has none; its path may or may not end in a slash
	ASPSPs  []ASPSP  // those of the configuration that name the provider, in their order
	Client  func(ClientConfig) Client
}

// ASPSP is an entry of aspsps in the configuration.
type ASPSP struct {
	ID string // in lower case
	// Options decodes the entry's options into a pointer to a struct, and rejects unknown keys. Its
	// error is config.Faults, whose paths begin with Path. An adapter that does not call it has no
	// options: each one is a fault.
	Options func(into any) error
	Path    string // of the options in the configuration, for further faults
}

// ClientConfig configures the client of an adapter.
type ClientConfig struct {
	// Certificate identifies the gateway to the provider (TLS); nil for none.
	Certificate *tls.Certificate
	// Sign adds the signature to a request that is complete otherwise; nil if requests are not
	// signed. It is called each time a request is sent, after an unattended call has taken its
	// slot.
	Sign func(r *http.Request, body []byte) error
	// Routes lists the templates of all paths that are called. Telemetry exports no other.
	Routes []string
	// ClassifyError returns the error that a response with a status other than 200 means. Required.
	ClassifyError func(q canonical.Query, r Request, a Response) *canonical.Error
}

// A Client makes the calls of one adapter. Each unattended call takes a slot of the ASPSP's limit
// before it is sent. An adapter has no other access to the network.
type Client interface {
	// Read makes the calls of one read: r, and then one for each URL that r.Next returns. It
	// returns the last response, whose status is 200. Every other outcome is a *canonical.Error.
	// The provider's timeout bounds all calls together.
	Read(ctx context.Context, q canonical.Query, r Request) (Response, error)
}

// A Request is the first call of a read, and the only one if Next is nil.
type Request struct {
	Method  string
	URL     *url.URL    // EscapedPath is sent as it is: Path and RawPath must be set for it
	Route   string      // the path as a template, for telemetry: without account ids
	Header  http.Header // sent as it is; only what HTTP itself needs is added
	Body    []byte      // nil for none
	Account string      // the id of the account whose balances are read; "" for the account list and all balances
	// AllBalances means that the balances of all accounts are read in one call, not the account list.
	AllBalances bool
	// Next is called with each response whose status is 200. It returns the URL of the next page,
	// which is otherwise requested like r; nil after the last page. An error ends the read.
	Next func(page Response) (*url.URL, error)
}

// A Response is the provider's response. Its body is read to the end, decompressed, and bounded in
// size.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Unreadable reports that this is an error response whose body could not be read, because it is
	// incomplete, too large, or has a content coding other than gzip. Body is nil. Then only the
	// status is classified, and never as an error of consent, token or account.
	Unreadable bool
	// SlotsLeft is the number of slots that remained in the unit after the call took its own;
	// math.MaxInt for an attended call.
	SlotsLeft int
}
