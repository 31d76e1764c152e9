package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// TestASPSPs: GET /v1/aspsps shows what each ASPSP requires and can return, and the limit that
// applies.
func TestASPSPs(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.ReplaceInConfig(t, w,
		"name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, psuAddressRequired: true, unattended: {limit: 8}}")
	_, body := gatewaytest.Call(t, http.MethodGet, gatewaytest.Serve(t, config).API+"/v1/aspsps")
	for id, want := range map[string]string{
		mastercardsim.WoodBank: `"unattended":{"limit":4,"windowSeconds":86400,"unit":"consent"},"psuAddressRequired":false,` +
			`"requires":{"providerAuthorization":false,"consentIdFormat":"text"},"capabilities":{"listWithBalances":false,"allBalances":false},`,
		mastercardsim.RiverBank: `"unattended":{"limit":0,"windowSeconds":86400,"unit":"consent"},"psuAddressRequired":true,` +
			`"requires":{"providerAuthorization":false,"consentIdFormat":"text"},"capabilities":{"listWithBalances":false,"allBalances":false},`,
		sandbox.MyPOS: `"unattended":{"limit":4,"windowSeconds":86400,"unit":"consent"},"psuAddressRequired":false,` +
			`"requires":{"providerAuthorization":true,"consentIdFormat":"uuid"},"capabilities":{"listWithBalances":false,"allBalances":false},`,
		sandbox.ElmBank:        `"requires":{"providerAuthorization":false,"consentIdFormat":"text"},"capabilities":{"listWithBalances":true,"allBalances":false},`,
		sandbox.BirchBank:      `"requires":{"providerAuthorization":true,"consentIdFormat":"text"},"capabilities":{"listWithBalances":false,"allBalances":false},`,
		sandbox.KingfisherBank: `"requires":{"providerAuthorization":true,"consentIdFormat":"text"},"capabilities":{"listWithBalances":false,"allBalances":true},`,
		sandbox.HeronBank:      `"requires":{"providerAuthorization":true,"consentIdFormat":"text"},"capabilities":{"listWithBalances":false,"allBalances":false},`,
	} {
		_, rest, _ := strings.Cut(body, `{"id":"`+id+`"`)
		if one, _, _ := strings.Cut(rest, `{"id":`); !strings.Contains(one, want) {
			t.Errorf("%s: %s\nwant %s", id, one, want)
		}
	}
}

// TestPSUAddressRequired: an ASPSP with psuAddressRequired is never called without the user.
// Unattended requests get the cached list, fresh or stale, or PSU_ADDRESS_REQUIRED.
func TestPSUAddressRequired(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	config := gatewaytest.ReplaceInConfig(t, w, "name: myPOS, provider: mypos}", "name: myPOS, provider: mypos, psuAddressRequired: true}")
	printed, err := exec.Command(gatewaytest.Binary(), "check", "--config", config, "--print").Output()
	if err != nil || !strings.Contains(string(printed), "psuAddressRequired: true\n    unattended:\n      limit: 0\n") {
		t.Errorf("check --print: %v\n%s", err, printed)
	}
	p := gatewaytest.Serve(t, config)
	path := p.API + "/v1/aspsps/" + sandbox.MyPOS
	unattended := []string{"Consent-ID", mypossim.GoodConsent, "Provider-Authorization", "Bearer " + mypossim.GoodToken}
	attended := append([]string{"PSU-IP-Address", "203.0.113.7"}, unattended...)
	expect := func(name, path string, header []string, status int, parts ...string) http.Header {
		t.Helper()
		resp, body := gatewaytest.Call(t, http.MethodGet, path, header...)
		if resp.StatusCode != status {
			t.Errorf("%s: %d, want %d\n%s", name, resp.StatusCode, status, body)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("%s: %s is missing in %s", name, part, body)
			}
		}
		return resp.Header
	}
	refused := func(name, path string, header ...string) {
		t.Helper()
		h := expect(name, path, append(header, unattended...), http.StatusBadRequest, `"code":"PSU_ADDRESS_REQUIRED"`,
			`"type":"/problems/psu-address-required"`, `"origin":"gateway","retryable":true,"action":"retry_attended"`,
			`"errors":[{"in":"header","name":"PSU-IP-Address","detail":"is required for this ASPSP"}]`)
		if got := fmt.Sprint(h["Retry-After"], h["Ratelimit-Policy"], h["Ratelimit"]); got != `[] ["unattended";q=0;w=86400] ["unattended";r=0]` {
			t.Errorf("%s: %s", name, got)
		}
	}
	balances := path + "/accounts/" + mypossim.GoodAccount + "/balances"
	refused("a list that is not cached", path+"/accounts")
	refused("balances", balances)
	expect("attended list", path+"/accounts", attended, http.StatusOK, `"source":"provider"`)
	expect("attended balances", balances, attended, http.StatusOK, `"source":"provider"`)
	h := expect("fresh list", path+"/accounts", unattended, http.StatusOK, `"source":"cache"`, `"stale":false`)
	if got := h.Get("RateLimit-Policy") + h.Get("RateLimit"); got != `"unattended";q=0;w=86400"unattended";r=0` {
		t.Errorf("fresh list: %s", got)
	}
	h = expect("stale list", path+"/accounts", append([]string{"Cache-Control", "max-age=0"}, unattended...), http.StatusOK,
		`"stale":true,"staleReason":"psu_address_required"`)
	if got := h.Get("Cache-Status"); !strings.HasSuffix(got, "; detail=psu_address_required") {
		t.Errorf("stale list: Cache-Status is %q", got)
	}
	refused("no-cache", path+"/accounts", "Cache-Control", "no-cache")
	expect("usage", path+"/unattended-access", unattended, http.StatusOK, `{"limit":0,"used":0,"remaining":0,"unit":"consent","windowSeconds":86400,"nextSlotAt":null}`)
	expect("usage of all balances", path+"/unattended-access?allBalances=true", unattended, http.StatusOK, `{"limit":0,`)
	expect("usage of two resources", path+"/unattended-access?allBalances=true&accountId=1", unattended, http.StatusBadRequest, `"in":"query","name":"allBalances"`)
	for _, c := range w.CallLog.Calls() {
		if !c.Attended {
			t.Errorf("an unattended call reached the ASPSP: %+v", c)
		}
	}
	if n := len(w.CallLog.Calls()); n != 2 {
		t.Errorf("%d calls reached the ASPSP, want 2", n)
	}
}
