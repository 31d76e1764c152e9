package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

var rateLimit = regexp.MustCompile(`^"unattended";r=(\d+)(?:;t=(\d+))?$`)

// remaining is the content of a RateLimit header: the calls that a unit has left, and the seconds
// until it has more; -1 if the header does not say.
type remaining struct{ left, seconds int }

func headerOf(t *testing.T, h http.Header) remaining {
	t.Helper()
	m := rateLimit.FindStringSubmatch(h.Get("RateLimit"))
	if m == nil {
		t.Fatalf("RateLimit is %q", h.Get("RateLimit"))
	}
	s := remaining{seconds: -1}
	s.left, _ = strconv.Atoi(m[1])
	if m[2] != "" {
		s.seconds, _ = strconv.Atoi(m[2])
	}
	return s
}

// The next call behaves as the RateLimit header and unattended-access say, on both gateways: for
// every unit, for a limit of 0, and for units that the operator or the ASPSP has closed.
func TestRemainingCallsAreAsReported(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	tomorrow := time.Now().Add(20 * time.Hour).UTC()
	config := gatewaytest.ReplaceInConfig(t, w,
		"name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, unattended: {limit: 0}}",
		"name: Stone Bank, provider: mastercard, unattended: {unit: resource}}", "name: Stone Bank, provider: mastercard, unattended: {unit: resource, limit: 2}}",
		"name: myPOS, provider: mypos}", "name: myPOS, provider: mypos, unattended: {closedUntil: "+tomorrow.Format(time.RFC3339)+"}}",
	)
	first, second := gatewaytest.Serve(t, config), gatewaytest.Serve(t, config)
	for _, tt := range []struct {
		name, aspsp, consent, account string
		allowed                       int // calls that are sent
		status                        int // of these calls
		closed                        bool
	}{
		{"consent", mastercardsim.WoodBank, mastercardsim.FreshConsent + uuid.NewString(), mastercardsim.Account, 4, 200, false},
		{"resource", mastercardsim.StoneBank, mastercardsim.FreshConsent + uuid.NewString(), "3dc3d5b3-7023-4848-9853-f5400a64e80f", 2, 200, false},
		{"limit 0", mastercardsim.RiverBank, mastercardsim.FreshConsent + uuid.NewString(), mastercardsim.Account, 0, 200, false},
		{"closed by the operator", sandbox.MyPOS, uuid.NewString(), mypossim.GoodAccount, 0, 200, true},
		{"closed by the ASPSP", mastercardsim.WoodBank, mastercardsim.ConsentExhausted, mastercardsim.Account, 1, 429, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := "/v1/aspsps/" + tt.aspsp
			header := []string{"Consent-ID", tt.consent, "Provider-Authorization", "Bearer " + mypossim.GoodToken}
			access := func(p *gatewaytest.Process) remaining {
				resp, body := gatewaytest.Call(t, http.MethodGet, p.API+path+"/unattended-access?accountId="+tt.account, header...)
				var reported struct {
					Limit, Used, Remaining int
					NextSlotAt             *time.Time
				}
				if err := json.Unmarshal([]byte(body), &reported); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
				if h := headerOf(t, resp.Header); h.left != reported.Remaining || reported.Remaining > 0 && reported.NextSlotAt != nil {
					t.Errorf("the header has %+v, the body %s", h, body)
				}
				return headerOf(t, resp.Header)
			}
			for i := range 6 {
				one, other := first, second
				if i%2 == 1 {
					one, other = second, first
				}
				before := access(one)
				if other := access(other); other.left != before.left {
					t.Errorf("call %d: one gateway reports %+v, the other %+v", i, before, other)
				}
				resp, body := gatewaytest.Call(t, http.MethodGet, one.API+path+"/accounts/"+tt.account+"/balances", header...)
				through := i < tt.allowed
				switch {
				case through != (before.left > 0):
					t.Errorf("call %d: %d although %+v was reported", i, resp.StatusCode, before)
				case through && resp.StatusCode != tt.status:
					t.Errorf("call %d: %d %s", i, resp.StatusCode, body)
				case !through:
					wait := fmt.Sprint(before.seconds)
					if before.seconds < 0 {
						wait = "" // with a limit of 0 there is never a slot
					}
					retry := resp.Header.Get("Retry-After")
					if resp.StatusCode != 429 || !strings.Contains(body, `"origin":"gateway"`) || !near(wait, retry) {
						t.Errorf("call %d: %d, Retry-After %q, %q was reported\n%s", i, resp.StatusCode, retry, wait, body)
					}
				}
				if after, now := headerOf(t, resp.Header), access(other); after.left != now.left {
					t.Errorf("call %d: the response has %+v, the next unattended-access %+v", i, after, now)
				}
			}
		})
	}
	if n := len(w.CallLog.Breaches()); n != 0 {
		t.Errorf("%d breaches", n)
	}
}

// near reports whether two numbers of seconds are equal, or b is smaller by up to two minutes
// because it was read later.
func near(a, b string) bool {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	return a == b || errA == nil && errB == nil && x-y >= 0 && x-y <= 120
}
