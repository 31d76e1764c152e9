// Package berlingroupsim is a simulator of banks whose API is that of the Berlin Group (NextGenPSD2
// XS2A 1.3), built from the standard and from the habits that were seen. It rejects every request
// that contains anything undocumented. The response depends on the consent id, see the constants.
// The adapter's tests and internal/sandbox use it.
package berlingroupsim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ais-gateway/internal/providers/aspspsim"
)

// Config configures a simulator.
type Config struct {
	Banks                    []Bank
	Log                      *aspspsim.CallLog // the call log of the banks; required
	RequireClientCertificate bool              // reject calls without a TLS client certificate
	// Verify checks the signature of a request with its body. If it is nil, requests must not be
	// signed.
	Verify func(r *http.Request, body []byte) error
}

// A Bank is one ASPSP of the simulator, with its habits. The zero value of each habit is that of the
// standard.
type Bank struct {
	ASPSP        string // the bank's id in the call log
	Path         string // the prefix of its paths, for example /psd2; each bank has another one
	Version      string // the segment before accounts; default v1
	WithBalance  WithBalance
	PageSize     int               // accounts per page, linked by _links.next; 0 for one page
	Delay        time.Duration     // before each response
	Odd          bool              // unusual but legal responses, see oddAccounts
	RequireToken bool              // reject calls without a token
	Headers      map[string]string // fixed headers that every call must have
	NoEcho       bool              // do not return X-Request-ID
}

// WithBalance is what a bank does with the query parameter withBalance.
type WithBalance int

// What banks do with withBalance.
const (
	Honoured WithBalance = iota // add balances to the list if it is true
	Ignored                     // never add balances
	Rejected                    // respond 400 PARAMETER_NOT_SUPPORTED
	Unasked                     // always add balances
)

// Access tokens. A token with TokenPrefix is valid. Any other token is unknown, except
// ExpiredToken.
const (
	TokenPrefix  = "sandbox-"
	GoodToken    = "sandbox-dGhpcyBpcyBhIHRva2Vu" // #nosec G101 -- made up
	ExpiredToken = "expired-dGhpcyBpcyBhIHRva2Vu" // #nosec G101 -- made up
)

// A Sim is the simulator. It is safe for concurrent use.
type Sim struct{ cfg Config }

// New returns a simulator.
func New(cfg Config) *Sim {
	banks := make([]Bank, len(cfg.Banks))
	for i, b := range cfg.Banks {
		if b.Version == "" {
			b.Version = "v1"
		}
		banks[i] = b
	}
	cfg.Banks = banks
	return &Sim{cfg}
}

// ServeHTTP handles one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // only then is a disconnect detected
	r.Body = io.NopCloser(bytes.NewReader(body))
	b, account, known := s.route(r.URL)
	if !known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !b.NoEcho {
		aspspsim.Echo(w, r, "X-Request-Id")
	}
	if b.Delay > 0 {
		select {
		case <-time.After(b.Delay):
		case <-r.Context().Done():
			return
		}
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if refused := s.check(b, r, body, account); refused != nil {
		refused.send(w)
		return
	}
	ok, _ := s.cfg.Log.Admit(aspspsim.Call{
		ASPSP: b.ASPSP, Consent: r.Header.Get("Consent-ID"), Account: account, Attended: r.Header.Get("PSU-IP-Address") != "",
	})
	if !ok {
		exceeded.send(w)
		return
	}
	b.respond(r, account).send(w)
}

// respond returns the response to a valid call within the limit.
func (b Bank) respond(r *http.Request, account string) response {
	token, consent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("Consent-ID")
	switch {
	case token == ExpiredToken:
		return message(http.StatusUnauthorized, "TOKEN_EXPIRED", "The access token has expired.")
	case token != "" && !strings.HasPrefix(token, TokenPrefix):
		return message(http.StatusUnauthorized, "TOKEN_UNKNOWN", "The access token is not known.")
	}
	if refusal, ok := refusals[consent]; ok {
		return refusal
	}
	if account == "" {
		return b.page(r, b.accountsOf(consent))
	}
	for _, a := range append(b.accountsOf(consent), hostile...) {
		if a.id == account {
			return success(`{"account":{` + a.reference + `},"balances":` + a.balances + `}`)
		}
	}
	return message(http.StatusNotFound, "RESOURCE_UNKNOWN", "The addressed resource is unknown relative to the TPP.")
}

// page returns the requested page of a list. check has validated the query.
func (b Bank) page(r *http.Request, all []account) response {
	query := r.URL.Query()
	asked := query.Get("withBalance") == "true"
	if query.Has("withBalance") && b.WithBalance == Rejected {
		return message(http.StatusBadRequest, "PARAMETER_NOT_SUPPORTED", "The parameter withBalance is not supported.")
	}
	number, size := 1, max(1, len(all))
	if b.PageSize > 0 {
		size = b.PageSize
	}
	if query.Has("page") {
		number, _ = strconv.Atoi(query.Get("page"))
	}
	from := min((number-1)*size, len(all))
	end := min(from+size, len(all))
	entries := make([]string, 0, size)
	for _, a := range all[from:end] {
		entries = append(entries, a.entry(b.base(r), asked && b.WithBalance == Honoured || b.WithBalance == Unasked))
	}
	body := `{"accounts":[` + strings.Join(entries, ",") + `]`
	if end < len(all) {
		query.Set("page", strconv.Itoa(number+1))
		body += `,"_links":{"next":` + b.link(b.base(r)+"/accounts?"+query.Encode()) + `}`
	}
	if b.Odd {
		body += `,"tppMessages":[{"category":"WARNING","code":"CERTIFICATE_EXPIRED","text":"The certificate will expire soon."}]`
	}
	return success(body + "}")
}

// base returns the URL of the bank's API: absolute if the bank is odd.
func (b Bank) base(r *http.Request) string {
	base := b.Path + "/" + b.Version
	if !b.Odd {
		return base
	}
	if r.TLS != nil {
		return "https://" + r.Host + base
	}
	return "http://" + r.Host + base
}

// link returns a link: an object, or a text if the bank is odd.
func (b Bank) link(href string) string {
	if b.Odd {
		return quote(href)
	}
	return `{"href":` + quote(href) + `}`
}

// response is a response that does not depend on the request.
type response struct {
	status      int
	contentType string
	body        string
}

func (a response) send(w http.ResponseWriter) {
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // the client may have disconnected
}

func success(body string) response {
	return response{http.StatusOK, "application/json", body}
}

// message returns an error response in the format of the standard.
func message(status int, code, text string) response {
	return response{status, "application/json", `{"tppMessages":[` + errorMessage(code, text) + `]}`}
}

func errorMessage(code, text string) string {
	return `{"category":"ERROR","code":` + quote(code) + `,"text":` + quote(text) + `}`
}

// quote returns a text as JSON, without escapes for HTML.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // of a string it does not fail
	return strings.TrimSpace(b.String())
}
