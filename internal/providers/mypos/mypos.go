// Package mypos reads account information from the PSD2 API of myPOS. MAPPING.md beside it says which member
// of the wire becomes what, and where that is written. cmd/gateway and internal/sandbox open it.
package mypos

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

// The calls as templates, for telemetry: real paths hold account numbers.
const (
	routeAccounts = "/v1/accounts"
	routeBalances = "/v1/accounts/{accountNumber}/balances"
)

type provider struct {
	base       *url.URL
	timeout    time.Duration
	apiKey     canonical.Secret
	client     providers.Client
	certExpiry time.Time // the client certificate
}

// Open makes the adapter. apiKeyFile is always required, the certificate and its key where the provider is
// called over https, unless on loopback. Its errors are config.Faults, those of decode among them.
func Open(decode func(into any) error, env providers.Env) (providers.Provider, error) {
	var cfg Config
	var faults config.Faults
	if err := decode(&cfg); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	key := cfg.apiKey(&faults)
	base := env.BaseURL
	certificate := cfg.certificate(base != nil && base.Scheme == "https" && !config.IsLoopback(base.Hostname()), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	var ends time.Time
	if certificate != nil {
		ends = providers.EarliestExpiry(certificate.Certificate)
	}
	return &provider{
		certExpiry: ends,
		base:       base,
		timeout:    env.Timeout,
		apiKey:     key,
		client:     env.Client(providers.ClientConfig{Certificate: certificate, Routes: []string{routeAccounts, routeBalances}, ClassifyError: classifyError}),
	}, nil
}

// Check demands what myPOS makes mandatory on every call: a UUID as consent, and the user's access token.
func (a *provider) Check(q canonical.Query) []canonical.FieldError {
	var faults []canonical.FieldError
	if len(q.Consent) != 36 || uuid.Validate(q.Consent) != nil {
		faults = append(faults, canonical.FieldError{In: "header", Name: "Consent-ID", Detail: "must be a UUID for this ASPSP"})
	}
	switch token := q.Token.Reveal(); {
	case token == "":
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "is required for this ASPSP"})
	case !printable(token):
		faults = append(faults, canonical.FieldError{In: "header", Name: "Provider-Authorization", Detail: "contains characters that are not allowed in a token"})
	}
	return faults
}

// NotAfter implements providers.Certified, for the client certificate and its chain.
func (a *provider) NotAfter() time.Time { return a.certExpiry }

// Accounts reads the account list, all its pages.
func (a *provider) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	if faults := a.Check(q); faults != nil {
		return nil, formatError(faults...)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	r := providers.Request{Method: http.MethodGet, Route: routeAccounts}
	list := newAccountPager()
	for {
		r.URL, r.Header = adapter.URL(a.base, "v1", "accounts"), a.header(q)
		r.URL.RawQuery = list.query()
		var w wireAccounts
		page, err := a.readOnce(ctx, q, r, &w)
		if err != nil {
			return nil, err
		}
		done, err := list.addPage(w, len(page.Body))
		if err != nil {
			return nil, err
		}
		if done {
			return list.list.Accounts, nil
		}
		if failure := list.checkSlots(page.SlotsLeft); failure != nil {
			return nil, failure
		}
	}
}

// Balances reads the balances of one account.
func (a *provider) Balances(ctx context.Context, q canonical.Query, accountID string) (canonical.AccountBalances, error) {
	faults := a.Check(q)
	if !adapter.ValidAccountID(accountID) {
		faults = append(faults, canonical.FieldError{In: "path", Name: "accountId", Detail: "cannot be an account's identifier"})
	}
	if faults != nil {
		return canonical.AccountBalances{}, formatError(faults...)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var w wireBalances
	_, err := a.readOnce(ctx, q, providers.Request{
		Method:  http.MethodGet,
		URL:     adapter.URL(a.base, "v1", "accounts", accountID, "balances"),
		Route:   routeBalances,
		Header:  a.header(q),
		Account: accountID,
	}, &w)
	if err != nil {
		return canonical.AccountBalances{}, err
	}
	return w.balances(accountID)
}

// read makes one call, and takes its answer only if it belongs to it.
func (a *provider) readOnce(ctx context.Context, q canonical.Query, r providers.Request, into any) (providers.Response, error) {
	answer, err := a.client.Read(ctx, q, r)
	if err != nil {
		return providers.Response{}, err
	}
	if failure := wrongRequestID(q, answer); failure != nil {
		return providers.Response{}, failure
	}
	return answer, adapter.Decode(answer.Body, into)
}

// stray is the error of an answer, of any status, that names another request; a missing or empty header names none.
func wrongRequestID(q canonical.Query, a providers.Response) *canonical.Error {
	for _, echo := range a.Header.Values("X-Request-ID") {
		if !adapter.SameRequestID(echo, q.RequestID) {
			failure := canonical.InvalidResponse("the answer belongs to another request")
			failure.Upstream = canonical.NewUpstreamError(a.Status, "", "")
			return failure
		}
	}
	return nil
}

// header is what the page "Read Account Balance" lists, and nothing else.
func (a *provider) header(q canonical.Query) http.Header {
	h := http.Header{}
	h.Set("Accept", "application/json")
	h.Set("X-Request-ID", q.RequestID)
	h.Set("Consent-ID", q.Consent)
	h.Set("Authorization", "Bearer "+q.Token.Reveal())
	h.Set("API-Key", a.apiKey.Reveal())
	if q.PSU == nil {
		return h
	}
	h.Set("PSU-IP-Address", q.PSU.IP.String())
	if q.PSU.Port != 0 {
		h.Set("PSU-IP-Port", strconv.Itoa(int(q.PSU.Port)))
	}
	if q.PSU.DeviceID != "" {
		h.Set("PSU-Device-ID", q.PSU.DeviceID)
	}
	if q.PSU.GeoLocation != "" {
		h.Set("PSU-Geo-Location", q.PSU.GeoLocation)
	}
	return h
}

func formatError(faults ...canonical.FieldError) *canonical.Error {
	return &canonical.Error{Kind: canonical.FormatError, Origin: canonical.OriginGateway, Faults: faults}
}

// printable reports whether s can stand in a header (RFC 9110, section 5.5) as plain ASCII.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
