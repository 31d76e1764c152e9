// Package mastercardsim is Mastercard Open Banking Connect as a caller sees it: the two calls for account
// information, the check of signatures, and the strictness about what is sent. internal/sandbox serves it, and
// the adapter's tests call it. What OBC's pages leave open is as strict here as it can be, so that nothing
// leaves the gateway unseen that the pages do not list.
package mastercardsim

import (
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/providers/aspspsim"
)

// maxBody bounds a request's body in bytes.
const maxBody = 64 << 10

// The paths, below whatever prefix the simulator is mounted at.
const (
	accountsPath = "/accounts"
	balancesPath = "/accounts/account/balances"
)

// Config says who may call a simulator, and where its ASPSPs keep their record. All but Now is required.
type Config struct {
	ConsumerKey string
	PublicKey   *rsa.PublicKey // of the consumer's signing key
	Ledger      *aspspsim.Ledger
	Now         func() time.Time // for the age of signatures, whose maker reads the real clock; nil for time.Now
}

// A Sim is the simulator. It is an http.Handler, safe for concurrent use, to be mounted at any prefix.
type Sim struct {
	cfg    Config
	nonces nonces
}

// New makes a simulator.
func New(cfg Config) *Sim {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sim{cfg: cfg, nonces: nonces{seen: map[string]bool{}}}
}

// ServeHTTP answers one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.answer(w, r)
	w.Header().Set("Correlation-Id", uuid.NewString())
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // a caller who went away needs no answer
}

// reply is an answer of the simulator.
type reply struct {
	status int
	header map[string]string
	body   string
}

func (s *Sim) answer(w http.ResponseWriter, r *http.Request) reply {
	balances := strings.HasSuffix(r.URL.Path, balancesPath)
	switch {
	case !balances && !strings.HasSuffix(r.URL.Path, accountsPath):
		return fromGateway(http.StatusNotFound, "RESOURCE_NOT_FOUND", "There is nothing at this path")
	case r.Method != http.MethodPost:
		return fromGateway(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Only POST").with("Allow", http.MethodPost)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fromGateway(http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE", "The body is too large")
	}
	if why := s.authenticate(r, body); why != "" {
		return fromGateway(http.StatusUnauthorized, "AUTHENTICATION_FAILED", why)
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return fromGateway(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON")
	}
	req, faults := readRequest(r, body, balances)
	if len(faults) > 0 {
		return formatError(faults)
	}
	return s.admit(req)
}

// admit asks the ASPSP, which keeps its own count, and answers if it lets the call in.
func (s *Sim) admit(req request) reply {
	bank, ok := banks[strings.ToLower(req.aspsp)]
	if !ok {
		return formatError([]fault{{"/requestInfo/aspspId", "Unknown aspspId"}})
	}
	admitted, _ := s.cfg.Ledger.Admit(aspspsim.Call{
		ASPSP: strings.ToLower(req.aspsp), Consent: req.consent, Account: req.account, Attended: req.live,
	})
	if !admitted {
		return limitExceeded
	}
	if refused, ok := refusals[req.consent]; ok {
		return refused
	}
	accounts, ok := bank.accounts(req.consent)
	if !ok {
		return tokenInvalid
	}
	if !req.balances {
		return success(accountsAnswer{Original: echo{req.id}, Accounts: accounts})
	}
	for _, a := range accounts {
		if a.ResourceID == req.account {
			return success(balancesAnswer{Original: echo{req.id}, Account: holdings{a.ResourceID, a.Name, a.balances}})
		}
	}
	return accountUnlinked
}

func (a reply) with(name, value string) reply {
	a.header = map[string]string{name: value}
	return a
}

func success(answer any) reply {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // the data of this package is no JSON: no test passes
	}
	return reply{status: http.StatusOK, body: string(body)}
}
