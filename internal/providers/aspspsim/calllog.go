// Package aspspsim is the ASPSP's side of a simulator: a log of the calls that reached it, and its
// own limit of unattended calls. Every simulator has one, so that a violation of the limit is
// detected where a bank would detect it.
package aspspsim

import (
	"slices"
	"sync"
	"time"
)

// A Policy is the unattended limit of an ASPSP.
type Policy struct {
	Limit  int           // unattended calls per window; 0 or more
	Window time.Duration // rolling
	Unit   Unit
}

// Unit is what has one count.
type Unit string

// The units.
const (
	PerConsent  Unit = "consent"
	PerResource Unit = "resource"
	PerASPSP    Unit = "aspsp"
)

// LegalPolicy is the gateway's default reading of Regulation (EU) 2018/389, article 36(5)(b).
var LegalPolicy = Policy{Limit: 4, Window: 24 * time.Hour, Unit: PerConsent}

// A Call is one call that reached the ASPSP.
type Call struct {
	At       time.Time
	ASPSP    string
	Consent  string
	Account  string // "" for the account list
	Attended bool
	Refused  bool // because the limit was used up
}

// A CallLog records the calls of one or more ASPSPs and applies their limits. It is safe for
// concurrent use.
type CallLog struct {
	mu       sync.Mutex
	now      func() time.Time
	policies map[string]Policy
	calls    []Call
}

// NewCallLog returns an empty log with the clock now. Each ASPSP has LegalPolicy unless SetPolicy
// changes it.
func NewCallLog(now func() time.Time) *CallLog {
	return &CallLog{now: now, policies: map[string]Policy{}}
}

// SetPolicy sets the policy of one ASPSP.
func (l *CallLog) SetPolicy(aspsp string, p Policy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.policies[aspsp] = p
}

// Admit records a call and reports whether the ASPSP accepts it. An unattended call is refused when
// the limit is used up; wait is then the time until the next call is possible.
func (l *CallLog) Admit(c Call) (ok bool, wait time.Duration) {
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

// Calls returns all calls in the order of arrival.
func (l *CallLog) Calls() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// Breaches returns the unattended calls that arrived although the limit was used up. There must be
// none.
func (l *CallLog) Breaches() []Call {
	return slices.DeleteFunc(l.Calls(), func(c Call) bool { return !c.Refused })
}

func (l *CallLog) policy(aspsp string) Policy {
	if p, ok := l.policies[aspsp]; ok {
		return p
	}
	return LegalPolicy
}

// unattended returns the accepted unattended calls of c's unit in the window that ends at t.
func (l *CallLog) unattended(c Call, p Policy, t time.Time) []Call {
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
