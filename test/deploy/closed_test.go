package deploy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// closedUntil is the configuration's part that closes all ASPSPs, before the part that comes next.
func closedUntil(until time.Time) string {
	return "unattended: {closedUntil: " + until.UTC().Format(time.RFC3339Nano) + "}\n" + "cache: {"
}

// A gateway that is started closed, with a Redis that has forgotten everything, makes no call without the user until the time
// that was set, says so to everybody who asks, and then opens by itself.
func TestClosedUntil(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	w.Ledger.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerConsent})
	first := gatewaytest.Serve(t, w.ConfigFile)
	consent := mastercardsim.FreshConsent + uuid.NewString()
	for i := range 4 {
		askFor(t, first, mastercardsim.WoodBank, consent, fmt.Sprintf("/accounts/none-%d/balances", i))
	}
	first.Terminate()
	first.Wait()
	if err := server.Do("FLUSHALL").Err(); err != nil {
		t.Fatal(err)
	}
	for margin := 5 * time.Second; ; margin *= 2 {
		until := time.Now().Add(margin).UTC().Truncate(time.Millisecond)
		g := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, "cache: {", closedUntil(until),
			"name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, unattended: {limit: 0}}",
			"name: myPOS, provider: mypos}", "name: myPOS, provider: mypos, unattended: {closedUntil: "+until.Add(time.Hour).Format(time.RFC3339Nano)+"}}"))
		faults := saysClosed(t, g, consent, until)
		reached := slices.ContainsFunc(w.Ledger.Calls()[4:], func(c aspspsim.Call) bool { return !c.Attended && c.At.Before(until) })
		if !time.Now().Before(until) {
			continue // the machine was too slow to look in time
		}
		for _, fault := range faults {
			t.Error(fault)
		}
		gatewaytest.Eventually(t, "it opens by itself", func() bool {
			time.Sleep(100 * time.Millisecond)
			resp, _ := askFor(t, g, mastercardsim.WoodBank, consent, "/accounts/"+mastercardsim.Account+"/balances")
			return resp.StatusCode == http.StatusOK
		})
		if calls := w.Ledger.Calls(); reached || calls[len(calls)-1].At.Before(until) {
			t.Error("a call reached the bank while it was closed")
		}
		return
	}
}

// saysClosed looks at a closed gateway from everywhere, and tells what is not as it must be.
func saysClosed(t *testing.T, g *gatewaytest.Process, consent string, until time.Time) (faults []string) {
	t.Helper()
	expect := func(what string, holds bool, said ...any) {
		if !holds {
			faults = append(faults, what+": "+fmt.Sprint(said...))
		}
	}
	wood, balances := mastercardsim.WoodBank, "/accounts/"+mastercardsim.Account+"/balances"
	resp, body := askFor(t, g, wood, consent, balances)
	expect("without the user", resp.StatusCode == http.StatusTooManyRequests && strings.Contains(body, `"code":"UNATTENDED_LIMIT"`) &&
		strings.Contains(body, `"origin":"gateway"`) && resp.Header.Get("Retry-After") != "", resp.StatusCode, resp.Header, body)

	resp, body = askFor(t, g, wood, consent, "/unattended-access")
	var access struct {
		Remaining  int
		NextSlotAt time.Time
	}
	err := json.Unmarshal([]byte(body), &access)
	expect("unattended-access", err == nil && resp.StatusCode == http.StatusOK && access.Remaining == 0 && access.NextSlotAt.Sub(until).Abs() < time.Second, body)

	resp, body = askFor(t, g, wood, consent, "/accounts", "PSU-IP-Address", "203.0.113.7")
	expect("with the user", resp.StatusCode == http.StatusOK, resp.StatusCode, body)
	time.Sleep(1100 * time.Millisecond) // a list that is a second old
	resp, body = askFor(t, g, wood, consent, "/accounts", "Cache-Control", "max-age=1")
	expect("the list that is kept", resp.StatusCode == http.StatusOK && strings.Contains(body, `"staleReason":"unattended_limit"`), resp.StatusCode, body)

	resp, body = askFor(t, g, mastercardsim.RiverBank, consent, balances)
	expect("with limit 0", resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "", resp.StatusCode, resp.Header, body)

	_, body = askFor(t, g, sandbox.MyPOS, uuid.NewString(), "/unattended-access")
	err = json.Unmarshal([]byte(body), &access)
	expect("an ASPSP that is closed for longer", err == nil && access.Remaining == 0 && access.NextSlotAt.Sub(until.Add(time.Hour)).Abs() < time.Second, body)

	said := g.Stdout.String()
	expect("the log", strings.Contains(said, `"level":"WARN","msg":"unattended calls blocked"`) &&
		strings.Contains(said, `"closed_until":"`+until.Format("2006-01-02T15:04")), said)
	return faults
}

// Redis is lost with everything in it, between calls of three gateways. Started again until a window and a
// timeout have passed, they never let through more than the bank allows; started as if nothing had happened, they do.
func TestRedisLost(t *testing.T) {
	for _, tt := range []struct {
		name   string
		window time.Duration
		closed bool
	}{
		{"closed until the window has passed", 6 * time.Second, true},
		{"as if nothing had happened", time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for window := tt.window; !redisLost(t, window, tt.closed); window *= 4 {
				t.Logf("the machine is too slow for a window of %v", window)
			}
		})
	}
}

// redisLost loses Redis, and reports whether the machine was fast enough for the window.
func redisLost(t *testing.T, window time.Duration, closed bool) bool {
	t.Helper()
	server := redistest.Start(t, "--save", "")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	w.Ledger.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 4, Window: window, Unit: aspspsim.PerConsent})
	changes := []string{
		"name: Wood Bank, provider: mastercard}", "name: Wood Bank, provider: mastercard, unattended: {window: " + window.String() + "}}",
		"mastercard: {", "mastercard: {timeout: " + lostTimeout.String() + ", ",
	}
	l := &lostLoad{t: t, row: uuid.NewString()}
	l.start(gatewaytest.ReplaceInConfig(t, w, changes...))
	began := time.Now()
	l.askAll()
	calls, want := len(w.Ledger.Calls()), 4*lostConsents
	if time.Since(began) > window/2 {
		l.end()
		return false
	}
	if calls != want {
		t.Fatalf("%d calls reached the bank, want %d", calls, want)
	}
	server.Stop()
	if l.askAll() {
		t.Error("calls are let through that nobody counts")
	}
	l.end()
	if closed {
		changes = append(changes, "cache: {", closedUntil(time.Now().Add(window+lostTimeout)))
	}
	l.start(gatewaytest.ReplaceInConfig(t, w, changes...)) // which needs no Redis
	server.Restart()                                       // empty
	answered := l.askAll()
	if closed && !answered {
		gatewaytest.Eventually(t, "calls are made again", l.askAll)
	}
	breaches := len(w.Ledger.Breaches())
	if closed != (breaches == 0) {
		t.Errorf("the bank refused %d calls", breaches)
	}
	return true
}

const (
	lostTimeout  = 5 * time.Second
	lostConsents = 10
)

// A lostLoad asks three gateways for a few consents, each for more than it may be.
type lostLoad struct {
	t        *testing.T
	row      string
	gateways []*gatewaytest.Process
}

func (l *lostLoad) start(config string) {
	l.gateways = nil
	for range 3 {
		l.gateways = append(l.gateways, gatewaytest.Serve(l.t, config))
	}
}

func (l *lostLoad) end() {
	for _, g := range l.gateways {
		g.Terminate()
		if code := g.Wait(); code != 0 {
			l.t.Errorf("exit %d", code)
		}
	}
}

// askAll asks six times for each consent, and reports whether the bank answered any of it.
func (l *lostLoad) askAll() (answered bool) {
	for i := range 6 * lostConsents {
		consent := mastercardsim.FreshConsent + l.row + fmt.Sprint(i%lostConsents)
		path := fmt.Sprintf("/accounts/none-%d/balances", i/lostConsents)
		resp, body := askFor(l.t, l.gateways[i%3], mastercardsim.WoodBank, consent, path)
		answered = answered || resp.StatusCode == http.StatusNotFound && strings.Contains(body, "ACCOUNT_UNKNOWN")
	}
	return answered
}

func askFor(t *testing.T, g *gatewaytest.Process, aspsp, consent, path string, header ...string) (*http.Response, string) {
	t.Helper()
	header = append(header, "Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	return gatewaytest.Call(t, http.MethodGet, g.API+"/v1/aspsps/"+aspsp+path, header...)
}
