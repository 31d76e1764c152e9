// Package obiesim is a simulator of banks of UK Open Banking (the OBIE Read/Write standard, versions
// 3.1 and 4.0), built from the standard. It rejects every request that contains anything
// undocumented. As at a real bank, the consent is known by the access token alone. The response
// depends on the consent, see the constants. The adapter's tests and internal/sandbox use it.
package obiesim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/providers/aspspsim"
)

// Config configures a simulator.
type Config struct {
	Banks                    []Bank
	Log                      *aspspsim.CallLog // the call log of all banks; required
	RequireClientCertificate bool              // reject calls without a TLS client certificate
}

// A Bank is one of the simulator's banks.
type Bank struct {
	Path        string        // of its base URL, "" or for example "/thames"
	ASPSP       string        // its id in the call log
	Version     string        // V3 or V4; default V3
	Bulk        bool          // it has the balances of all accounts in one call
	PageSize    int           // accounts and balances per page; default 20
	Delay       time.Duration // before each response
	Odd         bool          // its responses are unusual, but legal
	FinancialID string        // the x-fapi-financial-id that it requires; "" for none
}

// The versions.
const (
	V3 = "v3.1"
	V4 = "v4.0"
)

// TokenPrefix begins every valid access token. The rest of the token is the id of the consent.
const TokenPrefix = "sandbox-"

// ExpiredToken is a token that is no longer valid. Any token without TokenPrefix is unknown.
const ExpiredToken = "expired-Zm9yIHRoZSBzaW11bGF0b3I" // #nosec G101 -- made up

// Token returns the access token of a consent.
func Token(consent string) string { return TokenPrefix + consent }

// AllAccounts is the account in the call log for the balances of all accounts.
const AllAccounts = "*"

const defaultPageSize = 20

// A Sim is the simulator. It is safe for concurrent use.
type Sim struct{ cfg Config }

// New returns a simulator.
func New(cfg Config) *Sim {
	cfg.Banks = slices.Clone(cfg.Banks)
	for i, b := range cfg.Banks {
		if b.Version == "" {
			cfg.Banks[i].Version = V3
		}
		if b.PageSize == 0 {
			cfg.Banks[i].PageSize = defaultPageSize
		}
	}
	return &Sim{cfg}
}

// ServeHTTP handles one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	aspspsim.Echo(w, r, "X-Fapi-Interaction-Id")
	bank, res, known := s.route(r.URL)
	switch {
	case !known:
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !wait(r, bank.Delay) {
		return
	}
	if refused := s.check(r, bank); refused != nil {
		send(w, *refused)
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	consent, valid := strings.CutPrefix(token, TokenPrefix)
	if !valid {
		send(w, unknownToken(bank, token))
		return
	}
	attended := r.Header.Get("X-Fapi-Customer-Ip-Address") != ""
	ok, until := s.cfg.Log.Admit(aspspsim.Call{ASPSP: bank.ASPSP, Consent: consent, Account: res.logged(), Attended: attended})
	if !ok {
		a := failure(bank, http.StatusTooManyRequests, "UK.OBIE.Rules.AccessLimit", "The limit of unattended access is used up.")
		a.retryAfter = until
		send(w, a)
		return
	}
	send(w, respond(r, bank, consent, res))
}

// wait waits for the delay, and reports whether the client is still there.
func wait(r *http.Request, delay time.Duration) bool {
	if delay == 0 {
		return true
	}
	select {
	case <-time.After(delay):
		return true
	case <-r.Context().Done():
		return false
	}
}

// resource is what a path names.
type resource struct {
	account  string // whose balances; "" for a list
	balances bool
}

// logged returns the account in the call log.
func (r resource) logged() string {
	if r.balances && r.account == "" {
		return AllAccounts
	}
	return r.account
}

// route returns the bank and the resource of a path, and whether both exist. The segment of the
// account is unescaped once.
func (s *Sim) route(u *url.URL) (bank Bank, res resource, known bool) {
	for _, bank := range s.cfg.Banks {
		path, ok := strings.CutPrefix(u.EscapedPath(), bank.Path+"/open-banking/"+bank.Version+"/aisp/")
		if !ok {
			continue
		}
		segments := strings.Split(path, "/")
		switch {
		case path == "accounts":
			return bank, resource{}, true
		case path == "balances" && bank.Bulk:
			return bank, resource{balances: true}, true
		case len(segments) == 3 && segments[0] == "accounts" && segments[2] == "balances":
			account, err := url.PathUnescape(segments[1])
			return bank, resource{account: account, balances: true}, err == nil && account != ""
		}
	}
	return Bank{}, resource{}, false
}

// respond returns the response to a valid call within the limit.
func respond(r *http.Request, bank Bank, consent string, res resource) response {
	if refuse, ok := refusals[consent]; ok {
		return refuse(bank)
	}
	accounts := accountsOf(bank, consent)
	switch {
	case !res.balances:
		list := make([]any, len(accounts))
		for i, a := range accounts {
			list[i] = a.wire(bank.Version)
		}
		return page(r, bank, "Account", list)
	case res.account == "":
		var list []any
		for _, a := range accounts {
			list = append(list, a.wireBalances(bank)...)
		}
		return page(r, bank, "Balance", list)
	}
	i := slices.IndexFunc(slices.Concat(accounts, hostile), func(a account) bool { return a.id == res.account })
	if i < 0 {
		return failure(bank, http.StatusBadRequest, "UK.OBIE.Resource.NotFound", "The account does not exist.")
	}
	return page(r, bank, "Balance", slices.Concat(accounts, hostile)[i].wireBalances(bank))
}

// page returns the page of a list that the query names. check has validated the query.
func page(r *http.Request, bank Bank, member string, all []any) response {
	number := 1
	if r.URL.Query().Has("page") {
		number, _ = strconv.Atoi(r.URL.Query().Get("page"))
	}
	from := min((number-1)*bank.PageSize, len(all))
	to := min(from+bank.PageSize, len(all))
	links := map[string]string{"Self": link(r, number)}
	if to < len(all) {
		links["Next"] = link(r, number+1)
	}
	listed := append([]any{}, all[from:to]...)
	return asJSON(http.StatusOK, map[string]any{
		"Data": map[string]any{member: listed}, "Links": links, "Meta": map[string]int{"TotalPages": max(1, (len(all)+bank.PageSize-1)/bank.PageSize)},
	})
}

// link returns the URL of a page of the requested resource.
func link(r *http.Request, number int) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if number > 1 {
		u.RawQuery = "page=" + strconv.Itoa(number)
	}
	return u.String()
}

// response is a response that does not depend on the request.
type response struct {
	status      int
	contentType string
	body        string
	retryAfter  time.Duration // 0 for none
}

func send(w http.ResponseWriter, a response) {
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	if seconds := (a.retryAfter + time.Second - 1) / time.Second; seconds > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body)) // the client may have disconnected
}

func asJSON(status int, body any) response {
	text, err := json.Marshal(body)
	if err != nil {
		return response{status: http.StatusInternalServerError}
	}
	return response{status: status, contentType: "application/json; charset=utf-8", body: string(text)}
}

// failure returns an error response in the envelope of the bank's version.
func failure(bank Bank, status int, code, message string) response {
	errs := []map[string]string{{"ErrorCode": code, "Message": message}}
	if bank.Version == V4 {
		return asJSON(status, map[string]any{"Errors": errs})
	}
	return asJSON(status, map[string]any{
		"Code": strconv.Itoa(status) + " " + http.StatusText(status), "Id": "5f2c7a10-6d0e-4b43-9a55-0c1f6f7d2e11",
		"Message": "The request failed.", "Errors": errs,
	})
}

// unknownToken returns the response to a token that belongs to no consent.
func unknownToken(bank Bank, token string) response {
	if token == ExpiredToken {
		return failure(bank, http.StatusUnauthorized, "UK.OBIE.Field.Invalid", "The access token has expired.")
	}
	return response{status: http.StatusUnauthorized}
}
