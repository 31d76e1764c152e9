// Package aspspsim is the ASPSP's side of a simulator: its own record of the calls that reached it, and its own
// count of those that came without the user. Both providers' simulators keep one, so that a breach of the limit
// is seen where a bank would see it.
package aspspsim

import (
	"slices"
	"sync"
	"time"
)

// A Policy is what an ASPSP allows without the user.
type Policy struct {
	Limit  int           // unattended calls in any window; from 0
	Window time.Duration // rolling
	Unit   Unit
}

// Unit is what an ASPSP counts together.
type Unit string

// What an ASPSP may count together.
const (
	PerConsent  Unit = "consent"
	PerResource Unit = "resource"
	PerASPSP    Unit = "aspsp"
)

// LegalPolicy is the reading of Regulation (EU) 2018/389, article 36(5)(b), that the gateway takes by default.
var LegalPolicy = Policy{Limit: 4, Window: 24 * time.Hour, Unit: PerConsent}

// A Call is one call for account information as the ASPSP saw it.
type Call struct {
	At       time.Time
	ASPSP    string
	Consent  string
	Account  string // "" for the account list
	Attended bool
	Refused  bool // by the ASPSP's limit
}

// A Ledger is the record of one or more ASPSPs. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	now      func() time.Time
	policies map[string]Policy
	calls    []Call
}

// NewLedger makes an empty record that reads the time from now. Each ASPSP has LegalPolicy until SetPolicy.
func NewLedger(now func() time.Time) *Ledger {
	return &Ledger{now: now, policies: map[string]Policy{}}
}

// SetPolicy gives one ASPSP a policy of its own.
func (l *Ledger) SetPolicy(aspsp string, p Policy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.policies[aspsp] = p
}

// Admit records a call that has arrived, and reports whether the ASPSP answers it. It refuses an unattended
// call once the limit is used up; wait is then the time until the oldest call leaves the window.
func (l *Ledger) Admit(c Call) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.At = l.now()
	if !c.Attended {
		p := l.policy(c.ASPSP)
		inWindow := l.unattended(c, p, c.At)
		if len(inWindow) >= p.Limit {
			c.Refused, wait = true, p.Window
			if p.Limit > 0 {
				wait = inWindow[len(inWindow)-p.Limit].At.Add(p.Window).Sub(c.At)
			}
		}
	}
	l.calls = append(l.calls, c)
	return !c.Refused, wait
}

// Calls is the whole record, in the order of arrival.
func (l *Ledger) Calls() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// Breaches are the unattended calls that came although the limit was used up: there must never be one.
func (l *Ledger) Breaches() []Call {
	return slices.DeleteFunc(l.Calls(), func(c Call) bool { return !c.Refused })
}

func (l *Ledger) policy(aspsp string) Policy {
	if p, ok := l.policies[aspsp]; ok {
		return p
	}
	return LegalPolicy
}

// unattended are the answered unattended calls of c's unit that are in the window which ends at t.
func (l *Ledger) unattended(c Call, p Policy, t time.Time) []Call {
	var found []Call
	for _, old := range l.calls {
		same := old.ASPSP == c.ASPSP &&
			(p.Unit == PerASPSP || old.Consent == c.Consent) &&
			(p.Unit != PerResource || old.Account == c.Account)
		if same && !old.Attended && !old.Refused && t.Sub(old.At) < p.Window {
			found = append(found, old)
		}
	}
	return found
}
