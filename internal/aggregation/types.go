// Package aggregation has the types of aggregations: requests for the accounts and balances of many
// consents, and their results. internal/api makes the requests, internal/aggregation/repeat and
// internal/aggregation/runner the results.
package aggregation

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// Request is one aggregation of a client. All its sources are attended, or all are unattended.
type Request struct {
	Client       string
	RequestID    string // of the caller; a UUID
	Sources      []Source
	Balances     bool // read balances too
	RequireAll   bool // satisfied only if every source is ok or stale; otherwise by one ok, stale or partial source
	AllowPartial bool // read as many balances as slots are left
	DryRun       bool // only plan
	Stream       bool // each result is sent when it is ready
	Control      gateway.CacheControl
	Wait         time.Duration // until the response
	// Key is the caller's idempotency key; "" for none. Fingerprint identifies the request's body and
	// whether it is attended.
	Key         string
	Fingerprint string
}

// Source is one consent of an aggregation.
type Source struct {
	Ref   string          // the caller's name for it
	Query canonical.Query // RequestID is that of the list call
	// AccountIDs selects the accounts whose balances are read; nil for all.
	AccountIDs []string
}

// CallID returns the request id of a call of a source: a version 5 UUID (RFC 9562, section 5.5) derived
// from the request id of the caller, which must be a UUID.
func CallID(requestID string, source int, call string) string {
	return uuid.NewSHA1(uuid.MustParse(requestID), []byte("sources/"+strconv.Itoa(source)+"/"+call)).String()
}

// Outcome is the result of a source in one word.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // everything requested was read, and the list is fresh
	Stale   Outcome = "stale"   // everything requested was read, and the list is stale
	Partial Outcome = "partial" // accounts, but not all requested balances
	Failed  Outcome = "failed"  // no accounts
	Skipped Outcome = "skipped" // no accounts: the cost did not fit, or the user is required, and no call was made
)

// Outcomes lists all outcomes in the order of the contract.
var Outcomes = []Outcome{OK, Stale, Partial, Failed, Skipped}

// Result is the result of an aggregation.
type Result struct {
	Sources  []SourceResult // in the order of the request
	Replayed bool           // an earlier request with the same idempotency key has read it
}

// SourceResult is the result of one source. Its JSON is stored for repeats; that of the API is made
// by internal/api/render.
type SourceResult struct {
	Index     int
	Ref       string
	ASPSP     string // as configured, or as requested if it is unknown
	Provider  string // "" if the ASPSP is unknown
	RequestID string // of the list call
	Attended  bool
	Outcome   Outcome
	Failure   *canonical.Error // why there are no accounts; of a dry run, why the source could not start now
	Freshness gateway.Freshness
	Cost      Cost
	Usage     *unattended.Usage // of the list's unit; nil for an attended source, or if it could not be read
	Accounts  []Account         // in the order of the list; nil if there is none
	Missing   []Missing         // selected accounts that the list does not contain
}

// Account is an account of a source's list.
type Account struct {
	ID       string
	IBAN     string          // "" if the account is not identified by a valid IBAN
	Currency string          // "" if unknown
	JSON     json.RawMessage // the object as the API sends it
	Selected bool            // balances are requested; then either Balances or Failure is not nil
	Balances []canonical.Balance
	// Freshness is that of Balances.
	Freshness gateway.Freshness
	Failure   *canonical.Error // why there are no balances
}

// DecodeAccounts returns the accounts of a list, which is never nil.
func DecodeAccounts(list json.RawMessage) ([]Account, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(list, &raw); err != nil {
		return nil, err
	}
	accounts := make([]Account, len(raw))
	for i, text := range raw {
		var a struct {
			ID       string `json:"accountId"`
			IBAN     string `json:"iban"`
			Currency string `json:"currency"`
		}
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, err
		}
		accounts[i] = Account{ID: a.ID, IBAN: a.IBAN, Currency: a.Currency, JSON: text}
	}
	return accounts, nil
}

// Missing is a selected account that the list does not contain.
type Missing struct {
	ID      string
	Failure *canonical.Error
}

// Cost is counted in slots. It is 0 for attended sources.
type Cost struct {
	Min   int
	Max   *int // nil if it depends on the number of accounts, which is unknown
	Spent int
}

// Slots is what became of the slots of one source: those that its plan needs, those that were
// reserved, those that calls have used, and those that were released.
type Slots struct{ Planned, Reserved, Spent, Released int }

// Summary describes a result as a whole.
type Summary struct {
	Complete  bool // every outcome is ok or stale
	Fresh     bool // nothing in the result is stale
	Satisfied bool // what the request requires is met
	Outcomes  map[Outcome]int
}

// Summarize returns the summary of a request's results.
func (r Request) Summarize(results []SourceResult) Summary {
	s := Summary{Complete: true, Fresh: true, Outcomes: make(map[Outcome]int, len(Outcomes))}
	anyRead := false
	for _, source := range results {
		s.Outcomes[source.Outcome]++
		switch source.Outcome {
		case OK, Stale:
			anyRead = true
		case Partial:
			anyRead, s.Complete = true, false
		case Failed, Skipped:
			s.Complete = false
		}
		s.Fresh = s.Fresh && !source.Freshness.Stale
	}
	s.Satisfied = anyRead
	if r.RequireAll {
		s.Satisfied = s.Complete
	}
	return s
}
