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

// withClosedUntil returns the setting that blocks all ASPSPs until a time, followed by the start of
// the next section.
func withClosedUntil(until time.Time) string {
	return "unattended: {closedUntil: " + until.UTC().Format(time.RFC3339Nano) + "}\n" + "cache: {"
}

// TestClosedUntil: with closedUntil and an empty Redis, a gateway makes no unattended call until
// that time, and reports this. Afterwards it makes calls again without a restart.
func TestClosedUntil(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	w.CallLog.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 100, Window: time.Hour, Unit: aspspsim.PerConsent})
	first := gatewaytest.Serve(t, w.ConfigFile)
	consent := mastercardsim.FreshConsent + uuid.NewString()
	for i := range 4 {
		get(t, first, mastercardsim.WoodBank, consent, fmt.Sprintf("/accounts/none-%d/balances", i))
	}
	first.Terminate()
	first.Wait()
	if err := server.Do("FLUSHALL").Err(); err != nil {
		t.Fatal(err)
	}
	for margin := 5 * time.Second; ; margin *= 2 {
		until := time.Now().Add(margin).UTC().Truncate(time.Millisecond)
		g := gatewaytest.Serve(t, gatewaytest.ReplaceInConfig(t, w, "cache: {", withClosedUntil(until),
			"name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, unattended: {limit: 0}}",
			"name: myPOS, provider: mypos}", "name: myPOS, provider: mypos, unattended: {closedUntil: "+until.Add(time.Hour).Format(time.RFC3339Nano)+"}}"))
		faults := checkClosed(t, g, consent, until)
		reached := slices.ContainsFunc(w.CallLog.Calls()[4:], func(c aspspsim.Call) bool { return !c.Attended && c.At.Before(until) })
		if !time.Now().Before(until) {
			continue // the machine was too slow for the checks
		}
		for _, fault := range faults {
			t.Error(fault)
		}
		gatewaytest.Eventually(t, "unattended calls are made again", func() bool {
			time.Sleep(100 * time.Millisecond)
			resp, _ := get(t, g, mastercardsim.WoodBank, consent, "/accounts/"+mastercardsim.Account+"/balances")
			return resp.StatusCode == http.StatusOK
		})
		if calls := w.CallLog.Calls(); reached || calls[len(calls)-1].At.Before(until) {
			t.Error("a call reached the bank before closedUntil")
		}
		return
	}
}

// checkClosed sends requests to a gateway with closedUntil, and returns what is wrong with the
// responses and the log.
func checkClosed(t *testing.T, g *gatewaytest.Process, consent string, until time.Time) (faults []string) {
	t.Helper()
	expect := func(what string, holds bool, got ...any) {
		if !holds {
			faults = append(faults, what+": "+fmt.Sprint(got...))
		}
	}
	wood, balances := mastercardsim.WoodBank, "/accounts/"+mastercardsim.Account+"/balances"
	resp, body := get(t, g, wood, consent, balances)
	expect("unattended", resp.StatusCode == http.StatusTooManyRequests && strings.Contains(body, `"code":"UNATTENDED_LIMIT"`) &&
		strings.Contains(body, `"origin":"gateway"`) && resp.Header.Get("Retry-After") != "", resp.StatusCode, resp.Header, body)

	resp, body = get(t, g, wood, consent, "/unattended-access")
	var access struct {
		Remaining  int
		NextSlotAt time.Time
	}
	err := json.Unmarshal([]byte(body), &access)
	expect("unattended-access", err == nil && resp.StatusCode == http.StatusOK && access.Remaining == 0 && access.NextSlotAt.Sub(until).Abs() < time.Second, body)

	resp, body = get(t, g, wood, consent, "/accounts", "PSU-IP-Address", "203.0.113.7")
	expect("attended", resp.StatusCode == http.StatusOK, resp.StatusCode, body)
	time.Sleep(1100 * time.Millisecond) // a list that is a second old
	resp, body = get(t, g, wood, consent, "/accounts", "Cache-Control", "max-age=1")
	expect("the cached list", resp.StatusCode == http.StatusOK && strings.Contains(body, `"staleReason":"unattended_limit"`), resp.StatusCode, body)

	resp, body = get(t, g, mastercardsim.RiverBank, consent, balances)
	expect("with limit 0", resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "", resp.StatusCode, resp.Header, body)

	_, body = get(t, g, sandbox.MyPOS, uuid.NewString(), "/unattended-access")
	err = json.Unmarshal([]byte(body), &access)
	expect("an ASPSP with a later closedUntil", err == nil && access.Remaining == 0 && access.NextSlotAt.Sub(until.Add(time.Hour)).Abs() < time.Second, body)

	got := g.Stdout.String()
	expect("the log", strings.Contains(got, `"level":"WARN","msg":"unattended calls blocked"`) &&
		strings.Contains(got, `"closed_until":"`+until.Format("2006-01-02T15:04")), got)
	return faults
}

// TestRedisLost: Redis loses all data between calls of three gateways. If they are restarted with
// closedUntil at the end of a window and a timeout, no call is beyond the bank's limit. Without it,
// calls are.
func TestRedisLost(t *testing.T) {
	for _, tt := range []struct {
		name   string
		window time.Duration
		closed bool
	}{
		{"with closedUntil", 6 * time.Second, true},
		{"without closedUntil", time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for window := tt.window; !testRedisLost(t, window, tt.closed); window *= 4 {
				t.Logf("the machine is too slow for a window of %v", window)
			}
		})
	}
}

// testRedisLost lets Redis lose its data. It returns false if the machine was too slow for the
// window.
func testRedisLost(t *testing.T, window time.Duration, closed bool) bool {
	t.Helper()
	server := redistest.Start(t, "--save", "")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	w.CallLog.SetPolicy(mastercardsim.WoodBank, aspspsim.Policy{Limit: 4, Window: window, Unit: aspspsim.PerConsent})
	changes := []string{
		"name: Wood Bank, provider: mastercard}", "name: Wood Bank, provider: mastercard, unattended: {window: " + window.String() + "}}",
		"mastercard: {", "mastercard: {timeout: " + lostTimeout.String() + ", ",
	}
	l := &lostLoad{t: t, seed: uuid.NewString()}
	l.start(gatewaytest.ReplaceInConfig(t, w, changes...))
	began := time.Now()
	l.sendAll()
	calls, want := len(w.CallLog.Calls()), 4*lostConsents
	if time.Since(began) > window/2 {
		l.stop()
		return false
	}
	if calls != want {
		t.Fatalf("%d calls reached the bank, want %d", calls, want)
	}
	server.Stop()
	if l.sendAll() {
		t.Error("calls are made without a counter")
	}
	l.stop()
	if closed {
		changes = append(changes, "cache: {", withClosedUntil(time.Now().Add(window+lostTimeout)))
	}
	l.start(gatewaytest.ReplaceInConfig(t, w, changes...)) // starts without Redis
	server.Restart()                                       // empty
	answered := l.sendAll()
	if closed && !answered {
		gatewaytest.Eventually(t, "calls are made again", l.sendAll)
	}
	breaches := len(w.CallLog.Breaches())
	if closed != (breaches == 0) {
		t.Errorf("the bank refused %d calls", breaches)
	}
	return true
}

const (
	lostTimeout  = 5 * time.Second
	lostConsents = 10
)

// lostLoad sends requests to three gateways: for each consent more than its limit.
type lostLoad struct {
	t        *testing.T
	seed     string
	gateways []*gatewaytest.Process
}

// start starts the gateways.
func (l *lostLoad) start(config string) {
	l.gateways = nil
	for range 3 {
		l.gateways = append(l.gateways, gatewaytest.Serve(l.t, config))
	}
}

// stop ends the gateways.
func (l *lostLoad) stop() {
	for _, g := range l.gateways {
		g.Terminate()
		if code := g.Wait(); code != 0 {
			l.t.Errorf("exit %d", code)
		}
	}
}

// sendAll sends six requests for each consent, and reports whether any call reached the bank.
func (l *lostLoad) sendAll() (answered bool) {
	for i := range 6 * lostConsents {
		consent := mastercardsim.FreshConsent + l.seed + fmt.Sprint(i%lostConsents)
		path := fmt.Sprintf("/accounts/none-%d/balances", i/lostConsents)
		resp, body := get(l.t, l.gateways[i%3], mastercardsim.WoodBank, consent, path)
		answered = answered || resp.StatusCode == http.StatusNotFound && strings.Contains(body, "ACCOUNT_UNKNOWN")
	}
	return answered
}

// get sends a request for an ASPSP. header alternates names and values.
func get(t *testing.T, g *gatewaytest.Process, aspsp, consent, path string, header ...string) (*http.Response, string) {
	t.Helper()
	header = append(header, "Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	return gatewaytest.Call(t, http.MethodGet, g.API+"/v1/aspsps/"+aspsp+path, header...)
}
