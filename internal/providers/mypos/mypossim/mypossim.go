// Package mypossim is a simulator of the PSD2 API of myPOS: strict about every request, so that whatever the
// gateway sends too much is seen, and made of what the provider's pages say. What a consent answers goes by its
// id: see the constants. The adapter's tests and internal/sandbox run it.
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

// Config says how a simulator behaves.
type Config struct {
	APIKey                   string           // the only one that is let in
	Ledger                   *aspspsim.Ledger // the ASPSP's record; required
	ASPSP                    string           // under which id it is kept
	Now                      func() time.Time // for dates in answers; nil for time.Now
	RequireClientCertificate bool             // refuse whoever shows none in the TLS handshake
	PageSize                 int              // accounts on a page that is asked for without a size; 20 if 0
	Spelling                 Spelling         // of pagination's members
}

// Spelling is how the members of pagination are named, which myPOS does not publish.
type Spelling int

// Two ways to name them.
const (
	SnakeCase Spelling = iota // page_size, page, total
	CamelCase                 // pageSize, currentPage, totalCount
)

// Access tokens. Whatever begins with TokenPrefix is good; every other one is unknown.
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

// New makes a simulator.
func New(cfg Config) *Sim {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = defaultPageSize
	}
	return &Sim{cfg}
}

// ServeHTTP answers one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	echoRequestID(w, r)
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
	ok, wait := s.cfg.Ledger.Admit(aspspsim.Call{
		ASPSP: s.cfg.ASPSP, Consent: consent, Account: account, Attended: r.Header.Get("PSU-IP-Address") != "",
	})
	if !ok {
		a := message(http.StatusTooManyRequests, "ACCESS_EXCEEDED", "The access on the account has been exceeding the consented multiplicity per day.")
		a.retryAfter = wait
		s.send(w, a)
		return
	}
	s.send(w, s.answer(r, consent, account))
}

// answer is what an admitted call gets.
func (s *Sim) answer(r *http.Request, consent, account string) answer {
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
		return s.page(listed(consent), r.URL.Query())
	}
	for _, a := range slices.Concat(listed(consent), hostile) {
		if a.AccountNumber == account {
			return asJSON(map[string]any{
				"account":  a.identifier(),
				"balances": a.balances,
			})
		}
	}
	return message(http.StatusNotFound, "RESOURCE_UNKNOWN", "The addressed resource is unknown relative to the TPP.")
}

// page is the part of a list that a query asks for, whose form check has looked at.
func (s *Sim) page(all []account, query url.Values) answer {
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

// route is the account that a path names, "" for the list; false for a path that is none of the API's. A
// segment is decoded once.
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

// An answer is one that is the same whoever asks.
type answer struct {
	status      int
	contentType string
	body        string
	retryAfter  time.Duration // 0 for none
	asDate      bool          // Retry-After as an HTTP date
}

func (s *Sim) send(w http.ResponseWriter, a answer) {
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
	_, _ = w.Write([]byte(a.body)) // whoever went away misses it
}

func asJSON(body any) answer {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	return answer{status: http.StatusOK, contentType: "application/json", body: string(text)}
}

// message is an error in Berlin Group's form.
func message(status int, code, text string) answer {
	return messages(status, [2]string{code, text})
}

func messages(status int, pairs ...[2]string) answer {
	list := make([]map[string]string, len(pairs))
	for i, p := range pairs {
		list[i] = map[string]string{"category": "ERROR", "code": p[0], "text": p[1]}
	}
	a := asJSON(map[string]any{"tppMessages": list})
	a.status = status
	return a
}
