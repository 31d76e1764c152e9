// Package providers is the seam between the gateway and those who deliver account information: the Provider
// interface, and what an adapter is lent to implement it. It holds nothing that runs. Adapters stand in
// folders below it, one each; internal/gateway calls them.
package providers

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"ais-gateway/internal/canonical"
)

// A Provider reads account information from one upstream. Its methods are safe for concurrent use, return
// a *canonical.Error for every failure, and return complete results (all pages, every record valid) or none.
type Provider interface {
	// Accounts reads the accounts that the query's consent covers, in the provider's order.
	Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error)
	// Balances reads all balances of one account, and how the account is identified. accountID is an
	// Account.ID as Accounts gave it, any text of 1 to 256 characters.
	Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error)
}

// A Checker is a Provider that demands more of a query than every other: a consent id of some form, say, or a
// token of the user's. The gateway asks it before anything is sent, counted or looked up.
type Checker interface {
	// Check names everything that the provider would miss in the query; nil if nothing.
	Check(q canonical.Query) []canonical.FieldError
}

// A Certified is a Provider that has certificates, to be known by or beside the key that it signs with.
type CertificateHolder interface {
	// NotAfter is when the first of them, leaf or chain, is valid no longer; zero where there are none.
	NotAfter() time.Time
}

// Open makes an adapter from its part of the configuration. decode fills the adapter's own config type and
// rejects unknown keys. Open checks the whole of it, reports every fault at once as config.Faults with paths
// relative to the provider, and does no I/O.
type Open func(decode func(into any) error, env Env) (Provider, error)

// Env is what an adapter is lent: its place, its time, and the only way to the network.
type Env struct {
	BaseURL *url.URL      // where the provider is; its path may or may not end in a slash
	Timeout time.Duration // of one upstream read as a whole, all its pages together
	Client  func(ClientConfig) Client
}

// ClientConfig is what an adapter says about its calls.
type ClientConfig struct {
	// Certificate identifies the gateway to the provider (TLS); nil for none.
	Certificate *tls.Certificate
	// Sign adds what proves the sender, on the request as it will be sent; nil for nothing. It is called for each
	// sending, after an unattended call has taken its slot.
	Sign func(r *http.Request, body []byte) error
	// Routes are the templates of all paths that are read. Telemetry tells no other.
	Routes []string
	// Refusal says what an answer means whose status is not 200. Never nil.
	ClassifyError func(q canonical.Query, r Request, a Answer) *canonical.Error
}

// A Client makes the calls of one adapter. Each unattended call takes a slot of the ASPSP's limit before it
// leaves; there is no other way out.
type Client interface {
	// Read makes one call and returns its answer, whose status is 200. Every other outcome is a *canonical.Error.
	Read(ctx context.Context, q canonical.Query, r Request) (Answer, error)
}

// A Request is one call to the provider.
type Request struct {
	Method  string
	URL     *url.URL    // Path and RawPath set so that EscapedPath is what is to be sent
	Route   string      // the path as a template, for telemetry: it names no account
	Header  http.Header // exactly what is to be sent; nothing is added but what HTTP itself needs
	Body    []byte      // nil for none
	Account string      // whose balances are read; "" for the account list
}

// An Answer is the provider's, its body read to the end, decoded and bounded.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Unreadable: this is a refusal whose body could not be read, because it broke off, is too large, or is encoded in
	// another way than gzip. Body is nil. The status decides then, and nothing is assumed of consent, token or account.
	Unreadable bool
	// SlotsLeft is how many slots of the unit were left when the call had taken its own; math.MaxInt for an attended call.
	SlotsLeft int
}
