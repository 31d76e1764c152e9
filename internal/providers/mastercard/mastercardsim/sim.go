// Package mastercardsim is a simulator of Mastercard Open Banking Connect (OBC): the two calls for
// account information, with verification of signatures. It rejects every request that contains
// anything undocumented. The adapter's tests and internal/sandbox use it.
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

// maxBody is the maximum size of a request body in bytes.
const maxBody = 64 << 10

// The paths, below any prefix at which the simulator is mounted.
const (
	accountsPath = "/accounts"
	balancesPath = "/accounts/account/balances"
)

// Config configures a simulator. Every field except Now is required.
type Config struct {
	ConsumerKey string
	PublicKey   *rsa.PublicKey // of the signing key
	Log         *aspspsim.CallLog
	Now         func() time.Time // for the age of signatures, which are made with the real clock; default time.Now
}

// A Sim is the simulator. It is an http.Handler that can be mounted at any prefix, and safe for
// concurrent use.
type Sim struct {
	cfg    Config
	nonces nonces
}

// New returns a simulator.
func New(cfg Config) *Sim {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sim{cfg: cfg, nonces: nonces{seen: map[string]bool{}}}
}

// ServeHTTP handles one call.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.respond(w, r)
	w.Header().Set("Correlation-Id", uuid.NewString())
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // the client may have disconnected
}

// response is a response of the simulator.
type response struct {
	status int
	header map[string]string
	body   string
}

func (s *Sim) respond(w http.ResponseWriter, r *http.Request) response {
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

// admit records the call in the ASPSP's call log, which applies its limit, and returns the
// response.
func (s *Sim) admit(req request) response {
	bank, ok := banks[strings.ToLower(req.aspsp)]
	if !ok {
		return formatError([]fault{{"/requestInfo/aspspId", "Unknown aspspId"}})
	}
	admitted, _ := s.cfg.Log.Admit(aspspsim.Call{
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
		return success(accountsResponse{Original: echo{req.id}, Accounts: accounts})
	}
	for _, a := range accounts {
		if a.ResourceID == req.account {
			return success(balancesResponse{Original: echo{req.id}, Account: accountBalances{a.ResourceID, a.Name, a.balances}})
		}
	}
	return accountUnlinked
}

func (a response) with(name, value string) response {
	a.header = map[string]string{name: value}
	return a
}

func success(answer any) response {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // the data of this package can always be encoded
	}
	return response{status: http.StatusOK, body: string(body)}
}
