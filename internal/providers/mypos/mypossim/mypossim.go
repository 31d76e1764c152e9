// Package mypossim is a simulator of the PSD2 API of myPOS, built from the provider's
// documentation. It rejects every request that contains anything undocumented. The response depends
// on the consent id, see the constants. The adapter's tests and internal/sandbox use it.
package mypossim

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
	APIKey                   string            // the only valid key
	Log                      *aspspsim.CallLog // the call log of the ASPSP; required
	ASPSP                    string            // the ASPSP's id in the call log
	Now                      func() time.Time  // for dates in responses; default time.Now
	RequireClientCertificate bool              // reject calls without a TLS client certificate
	PageSize                 int               // accounts per page if the request has no size; default 20
	Spelling                 Spelling          // of the members of pagination
}

// Spelling is the spelling of the members of pagination, which myPOS does not document.
type Spelling int

// The spellings.
const (
	SnakeCase Spelling = iota // page_size, page, total
	CamelCase                 // pageSize, currentPage, totalCount
)

// Access tokens. A token with TokenPrefix is valid. Any other token is unknown, except
// ExpiredToken.
const (
	TokenPrefix  = "sandbox-"
	GoodToken    = "sandbox-oqeeWzoYfqkf1RsfyaB3hyNiLvY7GNAV6Kta7sGa9X" // #nosec G101 -- made up
	ExpiredToken = "expired-oqeeWzoYfqkf1RsfyaB3hyNiLvY7GNAV6Kta7sGa9X" // #nosec G101 -- made up
)

const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// A Sim is the simulator. It is safe for concurrent use.
type Sim struct{ cfg Config }

// New returns a simulator.
func New(cfg Config) *Sim {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = defaultPageSize
	}
	return &Sim{cfg}
}

// ServeHTTP handles one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	aspspsim.Echo(w, r, "X-Request-Id")
	account, known := route(r.URL)
	switch {
	case !known:
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if a := s.check(r, account); a != nil {
		s.send(w, *a)
		return
	}
	consent := strings.ToLower(r.Header.Get("Consent-ID"))
	ok, wait := s.cfg.Log.Admit(aspspsim.Call{
		ASPSP: s.cfg.ASPSP, Consent: consent, Account: account, Attended: r.Header.Get("PSU-IP-Address") != "",
	})
	if !ok {
		a := message(http.StatusTooManyRequests, "ACCESS_EXCEEDED", "The access on the account has been exceeding the consented multiplicity per day.")
		a.retryAfter = wait
		s.send(w, a)
		return
	}
	s.send(w, s.respond(r, consent, account))
}

// respond returns the response to a valid call within the limit.
func (s *Sim) respond(r *http.Request, consent, account string) response {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case token == ExpiredToken:
		return message(http.StatusUnauthorized, "TOKEN_EXPIRED", "The access token has expired.")
	case !strings.HasPrefix(token, TokenPrefix):
		return message(http.StatusUnauthorized, "TOKEN_UNKNOWN", "The access token is not known.")
	}
	if refusal, ok := refusals[consent]; ok {
		return refusal
	}
	if account == "" {
		return s.page(accountsOf(consent), r.URL.Query())
	}
	for _, a := range slices.Concat(accountsOf(consent), hostile) {
		if a.AccountNumber == account {
			return asJSON(map[string]any{
				"account":  a.identifier(),
				"balances": a.balances,
			})
		}
	}
	return message(http.StatusNotFound, "RESOURCE_UNKNOWN", "The addressed resource is unknown relative to the TPP.")
}

// page returns the requested page of a list. check has validated the query.
func (s *Sim) page(all []account, query url.Values) response {
	size, number := s.cfg.PageSize, 1
	if query.Has("size") {
		size, _ = strconv.Atoi(query.Get("size"))
	}
	if query.Has("page") {
		number, _ = strconv.Atoi(query.Get("page"))
	}
	from := min((number-1)*size, len(all))
	names := [...]string{"page_size", "page", "total"}
	if s.cfg.Spelling == CamelCase {
		names = [...]string{"pageSize", "currentPage", "totalCount"}
	}
	return asJSON(map[string]any{
		"accounts":   all[from:min(from+size, len(all))],
		"pagination": map[string]int{names[0]: size, names[1]: number, names[2]: len(all)},
	})
}

// route returns the account number in a path, "" for the account list, and whether the path exists.
// The segment is unescaped once.
func route(u *url.URL) (account string, known bool) {
	segments := strings.Split(u.EscapedPath(), "/")
	if len(segments) < 3 || segments[0] != "" || segments[1] != "v1" || segments[2] != "accounts" {
		return "", false
	}
	if len(segments) == 3 {
		return "", true
	}
	if len(segments) != 5 || segments[4] != "balances" {
		return "", false
	}
	account, err := url.PathUnescape(segments[3])
	return account, err == nil && account != ""
}

// response is a response that does not depend on the request.
type response struct {
	status      int
	contentType string
	body        string
	retryAfter  time.Duration // 0 for none
	asDate      bool          // Retry-After as an HTTP date
}

func (s *Sim) send(w http.ResponseWriter, a response) {
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	seconds := (a.retryAfter + time.Second - 1) / time.Second
	switch {
	case seconds > 0 && a.asDate:
		w.Header().Set("Retry-After", s.cfg.Now().Add(a.retryAfter).UTC().Format(http.TimeFormat))
	case seconds > 0:
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body)) // the client may have disconnected
}

func asJSON(body any) response {
	text, err := json.Marshal(body)
	if err != nil {
		return response{status: http.StatusInternalServerError}
	}
	return response{status: http.StatusOK, contentType: "application/json", body: string(text)}
}

// message returns an error response in the Berlin Group format.
func message(status int, code, text string) response {
	return messages(status, [2]string{code, text})
}

func messages(status int, pairs ...[2]string) response {
	list := make([]map[string]string, len(pairs))
	for i, p := range pairs {
		list[i] = map[string]string{"category": "ERROR", "code": p[0], "text": p[1]}
	}
	a := asJSON(map[string]any{"tppMessages": list})
	a.status = status
	return a
}
