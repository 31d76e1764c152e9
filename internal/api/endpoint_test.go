package api_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

func TestWhoCalls(t *testing.T) {
	bearer := func(v string) header { return header{"Authorization", v} }
	tests := []struct {
		name    string
		headers []header
		status  int
		client  string
		faults  []string
	}{
		{"a key", []header{apiKey}, 200, "all", nil},
		{"a bearer", []header{bearer("Bearer " + allScope)}, 200, "all", nil},
		{"a bearer in other letters", []header{bearer("bEARER  " + allScope)}, 200, "all", nil},
		{"nothing", nil, 401, "", nil},
		{"an empty key", []header{{"X-API-Key", ""}}, 401, "", nil},
		{"a wrong key", []header{{"X-API-Key", "wrong"}}, 401, "", nil},
		{"a key's digest", []header{{"X-API-Key", digest(allScope)}}, 401, "", nil},
		{"another scheme", []header{bearer("Basic " + allScope)}, 401, "", nil},
		{"no scheme", []header{bearer(allScope)}, 401, "", nil},
		{"a scheme alone", []header{bearer("Bearer")}, 401, "", nil},
		{"no scope", []header{{"X-API-Key", noScope}}, 403, "nothing", nil},
		{"both, the same", []header{apiKey, bearer("Bearer " + allScope)}, 200, "all", nil},
		{"both, the same wrong one", []header{{"X-API-Key", "x"}, bearer("Bearer x")}, 401, "", nil},
		{"both, different", []header{apiKey, bearer("Bearer " + noScope)}, 400, "", []string{"header Authorization"}},
		{"both, one of another scheme", []header{apiKey, bearer("Basic " + allScope)}, 400, "", []string{"header Authorization"}},
		{"both, one without a scheme", []header{apiKey, bearer(allScope)}, 400, "", []string{"header Authorization"}},
		{"both, no token", []header{apiKey, bearer("Bearer ")}, 400, "", []string{"header Authorization"}},
		{"both, an empty bearer", []header{apiKey, bearer("")}, 400, "", []string{"header Authorization"}},
		{"both, an empty key", []header{{"X-API-Key", ""}, bearer("Bearer " + allScope)}, 400, "", []string{"header X-API-Key"}},
		{"both, a blank key", []header{{"X-API-Key", " \t"}, bearer("Bearer " + allScope)}, 400, "", []string{"header X-API-Key"}},
		{"both empty", []header{{"X-API-Key", ""}, bearer("")}, 400, "", []string{"header X-API-Key"}},
		{"the longest key", []header{{"X-API-Key", strings.Repeat("a", 8192)}}, 401, "", nil},
		{"too long a key", []header{{"X-API-Key", strings.Repeat("a", 8193)}}, 400, "", []string{"header X-API-Key"}},
		{"the longest bearer", []header{bearer("Bearer " + strings.Repeat("a", 8192))}, 401, "", nil},
		{"too long a bearer", []header{bearer("Bearer " + strings.Repeat("a", 8193))}, 400, "", []string{"header Authorization"}},
		{"a key twice", []header{apiKey, apiKey}, 400, "", []string{"header X-API-Key"}},
		{"a bearer twice", []header{bearer("Bearer x"), bearer("Bearer x")}, 400, "", []string{"header Authorization"}},
		{
			"all of it and more",
			[]header{apiKey, apiKey, bearer("Bearer x"), {"PSU-IP-Port", "1"}},
			400, "",
			[]string{"header Authorization", "header PSU-IP-Address", "header X-API-Key"},
		},
	}
	// bare lists requests without credentials of a known scheme.
	bare := map[string]bool{"nothing": true, "an empty key": true, "another scheme": true, "no scheme": true, "a scheme alone": true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			got := s.do(t, http.MethodGet, accountsOf, append(tt.headers, consent)...)
			if got.status != tt.status {
				t.Errorf("answered %d, want %d", got.status, tt.status)
			}
			if diff := cmp.Diff(tt.faults, got.problem().named()); diff != "" {
				t.Error(diff)
			}
			challenge := ""
			switch {
			case tt.status == 403:
				challenge = `Bearer realm="ais-gateway", error="insufficient_scope", scope="accounts:read"`
			case tt.status == 401 && bare[tt.name]:
				challenge = `Bearer realm="ais-gateway"`
			case tt.status == 401:
				challenge = `Bearer realm="ais-gateway", error="invalid_token"`
			}
			if got.header.Get("WWW-Authenticate") != challenge {
				t.Errorf("WWW-Authenticate is %q, want %q", got.header.Get("WWW-Authenticate"), challenge)
			}
			if (got.problem().Provider != "") != (tt.status == 403) {
				t.Errorf("the provider is %q to one who is not known", got.problem().Provider)
			}
			if client, _ := s.lines(t)[0]["client"].(string); client != tt.client {
				t.Errorf("logged as %q", client)
			}
			if asks := len(s.gateway.asked); (asks == 1) != (tt.status == 200) {
				t.Errorf("the gateway was asked %d times", asks)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	none := header{"X-API-Key", noScope}
	for target, status := range map[string]int{
		"/v1/aspsps": 200, "/v1/aspsps/" + bank: 200, accountsOf: 403, balancesOf("1"): 403, accessOf: 403,
	} {
		if got := open(t, good()).do(t, http.MethodGet, target, none, consent); got.status != status {
			t.Errorf("%s: answered %d, want %d", target, got.status, status)
		}
	}
	if got := open(t, good()).do(t, http.MethodPost, aggregations, none); got.status != 403 {
		t.Errorf("a stranger aggregates: %d", got.status)
	}
	if got := open(t, good()).do(t, http.MethodDelete, cachedOf, none, consent); got.status != 403 {
		t.Errorf("a stranger forgets: %d", got.status)
	}
}

// TestOrder checks the order of all checks, from the last to the first.
func TestOrder(t *testing.T) {
	unknown := "/v1/aspsps/" + stranger + "/accounts"
	ill := header{"PSU-Device-ID", "x"}
	tests := []struct {
		name, target string
		headers      []header
		code         string
	}{
		{"unknown", unknown, []header{apiKey, consent}, "ASPSP_UNKNOWN"},
		{"ill-formed before unknown", unknown, []header{apiKey, consent, ill}, "FORMAT_ERROR"},
		{"forbidden before ill-formed", accountsOf, []header{{"X-API-Key", noScope}, ill}, "FORBIDDEN"},
		{"unauthenticated before ill-formed", accountsOf, []header{ill}, "UNAUTHENTICATED"},
		{"unauthenticated before unknown", unknown, []header{consent}, "UNAUTHENTICATED"},
		{"ill credentials before unauthenticated", accountsOf, []header{{"X-API-Key", "1"}, {"X-API-Key", "2"}}, "FORMAT_ERROR"},
		{"no route before unauthenticated", accountsOf + "/x", nil, "NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			s.gateway.missing = []canonical.FieldError{{In: "header", Name: "Provider-Authorization", Detail: "is required"}}
			if tt.name == "unknown" {
				s.gateway.missing = nil
			}
			if got := s.do(t, http.MethodGet, tt.target, tt.headers...).problem().Code; got != tt.code {
				t.Errorf("answered %s, want %s", got, tt.code)
			}
			if len(s.gateway.asked) != 0 {
				t.Error("the gateway was asked")
			}
		})
	}
}

// TestProvidersDemands checks that the missing fields of the provider are added to the other
// faults.
func TestProvidersDemands(t *testing.T) {
	missing := []canonical.FieldError{
		{In: "header", Name: "Consent-ID", Detail: "must be a UUID for this ASPSP"},
		{In: "header", Name: "Provider-Authorization", Detail: "is required for this ASPSP"},
	}
	tests := []struct {
		name, method, target string
		headers              []header
		want                 []string
	}{
		{"alone", http.MethodGet, accountsOf, []header{apiKey, consent}, []string{"header Consent-ID", "header Provider-Authorization"}},
		{
			"with others, once", http.MethodGet, balancesOf("."),
			[]header{apiKey, {"Provider-Authorization", "Basic x"}},
			[]string{"header Consent-ID", "header Provider-Authorization", "path accountId"},
		},
		{"of a call that asks nobody", http.MethodDelete, cachedOf, []header{apiKey, consent}, []string{"header Consent-ID"}},
		{"of another such call", http.MethodGet, accessOf, []header{apiKey, consent}, []string{"header Consent-ID"}},
		{
			"ill-formed all the same", http.MethodGet, accessOf,
			[]header{apiKey, consent, {"Provider-Authorization", "x"}},
			[]string{"header Consent-ID", "header Provider-Authorization"},
		},
		{"no consent, no demands", http.MethodGet, "/v1/aspsps/" + bank, []header{apiKey}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			s.gateway.missing = missing
			if diff := cmp.Diff(tt.want, s.do(t, tt.method, tt.target, tt.headers...).problem().named()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIllHeaders(t *testing.T) {
	long, text := strings.Repeat("ж", 257), "header "
	tests := []struct {
		name    string
		headers []header
		want    []string
	}{
		{"no consent", []header{}, []string{"Consent-ID"}},
		{"an empty consent", []header{{"Consent-ID", ""}}, []string{"Consent-ID"}},
		{"a long consent", []header{{"Consent-ID", long}}, []string{"Consent-ID"}},
		{"a consent twice", []header{consent, consent}, []string{"Consent-ID"}},
		{"no UTF-8", []header{{"Consent-ID", "a\xff"}}, []string{"Consent-ID"}},
		{"a C1 control", []header{{"Consent-ID", "a\u0085"}}, []string{"Consent-ID"}},
		{"a no-break space before", []header{{"Consent-ID", "\u00a0a"}}, []string{"Consent-ID"}},
		{"an ideographic space behind", []header{{"Consent-ID", "a\u3000"}}, []string{"Consent-ID"}},
		{"a zero-width space", []header{{"Consent-ID", "a\u200bb"}}, []string{"Consent-ID"}},
		{"a zero-width joiner", []header{{"Consent-ID", "a\u200d"}}, []string{"Consent-ID"}},
		{"a byte order mark", []header{{"Consent-ID", "\ufeffa"}}, []string{"Consent-ID"}},
		{"a soft hyphen", []header{{"Consent-ID", "a\u00adb"}}, []string{"Consent-ID"}},
		{"an override of the direction", []header{{"Consent-ID", "a\u202eb"}}, []string{"Consent-ID"}},
		{"a variation selector", []header{{"Consent-ID", "a\ufe0f"}}, []string{"Consent-ID"}},
		{"a filler", []header{{"Consent-ID", "a\u3164"}}, []string{"Consent-ID"}},
		{"a grapheme joiner", []header{{"Consent-ID", "a\u034fb"}}, []string{"Consent-ID"}},
		{"a tag", []header{{"Consent-ID", "a\U000e0041"}}, []string{"Consent-ID"}},
		{"a line separator", []header{{"Consent-ID", "a\u2028b"}}, []string{"Consent-ID"}},
		{"a blank of Braille", []header{{"Consent-ID", "a\u2800b"}}, []string{"Consent-ID"}},
		{"a tab", []header{{"Consent-ID", "a\tb"}}, []string{"Consent-ID"}},
		{"an empty request id", []header{consent, {"X-Request-ID", ""}}, []string{"X-Request-ID"}},
		{"a short request id", []header{consent, {"X-Request-ID", "99391c7ead8849eca2ad99ddcb1f7721"}}, []string{"X-Request-ID"}},
		{"a braced request id", []header{consent, {"X-Request-ID", "{99391c7e-ad88-49ec-a2ad-99ddcb1f7721}"}}, []string{"X-Request-ID"}},
		{"a urn", []header{consent, {"X-Request-ID", "urn:uuid:99391c7e-ad88-49ec-a2ad-99ddcb1f7721"}}, []string{"X-Request-ID"}},
		{"a request id twice", []header{consent, {"X-Request-ID", theirID}, {"X-Request-ID", theirID}}, []string{"X-Request-ID"}},
		{"no bearer", []header{consent, {"Provider-Authorization", "Basic eA=="}}, []string{"Provider-Authorization"}},
		{"no token", []header{consent, {"Provider-Authorization", "Bearer "}}, []string{"Provider-Authorization"}},
		{"two tokens", []header{consent, {"Provider-Authorization", "Bearer a b"}}, []string{"Provider-Authorization"}},
		{"a token in Cyrillic", []header{consent, {"Provider-Authorization", "Bearer ж"}}, []string{"Provider-Authorization"}},
		{"a long token", []header{consent, {"Provider-Authorization", "Bearer " + strings.Repeat("a", 8186)}}, []string{"Provider-Authorization"}},
		{"an empty address", []header{consent, {"PSU-IP-Address", ""}}, []string{"PSU-IP-Address"}},
		{"an address with a port", []header{consent, {"PSU-IP-Address", "192.0.2.1:80"}}, []string{"PSU-IP-Address"}},
		{"an address with zeros", []header{consent, {"PSU-IP-Address", "192.0.02.1"}}, []string{"PSU-IP-Address"}},
		{"a zone", []header{consent, {"PSU-IP-Address", "2001:db8::1%eth0"}}, []string{"PSU-IP-Address"}},
		{"addresses", []header{consent, {"PSU-IP-Address", "192.0.2.1, 192.0.2.2"}}, []string{"PSU-IP-Address"}},
		{"an address twice", []header{consent, attended, attended}, []string{"PSU-IP-Address"}},
		{"port 0", []header{consent, attended, {"PSU-IP-Port", "0"}}, []string{"PSU-IP-Port"}},
		{"port 65536", []header{consent, attended, {"PSU-IP-Port", "65536"}}, []string{"PSU-IP-Port"}},
		{"a signed port", []header{consent, attended, {"PSU-IP-Port", "+80"}}, []string{"PSU-IP-Port"}},
		{"a port in other digits", []header{consent, attended, {"PSU-IP-Port", "٨٠"}}, []string{"PSU-IP-Port"}},
		{"a device", []header{consent, attended, {"PSU-Device-ID", "phone"}}, []string{"PSU-Device-ID"}},
		{"a long agent", []header{consent, attended, {"PSU-User-Agent", long}}, []string{"PSU-User-Agent"}},
		{"an empty place", []header{consent, attended, {"PSU-Geo-Location", ""}}, []string{"PSU-Geo-Location"}},
		{
			"a user without address",
			[]header{consent, {"PSU-IP-Port", "80"}, {"PSU-User-Agent", "x"}, {"PSU-Geo-Location", "x"}},
			[]string{"PSU-IP-Address"},
		},
		{
			"a device without address",
			[]header{consent, {"PSU-Device-ID", "x"}},
			[]string{"PSU-Device-ID", "PSU-IP-Address"},
		},
		{"an ill address with a port", []header{consent, {"PSU-IP-Address", "x"}, {"PSU-IP-Port", "80"}}, []string{"PSU-IP-Address"}},
		{"a merchant without name", []header{consent, {"Merchant-ID", "1"}}, []string{"Merchant-Name"}},
		{"a merchant without id", []header{consent, {"Merchant-Name", "1"}}, []string{"Merchant-ID"}},
		{"a merchant with an empty name", []header{consent, {"Merchant-ID", "1"}, {"Merchant-Name", ""}}, []string{"Merchant-Name"}},
		{"an empty customer", []header{consent, {"TPP-Customer-ID", ""}}, []string{"TPP-Customer-ID"}},
		{"an empty cache control", []header{consent, {"Cache-Control", ""}}, []string{"Cache-Control"}},
		{"cache control twice", []header{consent, {"Cache-Control", "no-cache"}, {"Cache-Control", "no-cache"}}, []string{"Cache-Control"}},
		{"max-age without", []header{consent, {"Cache-Control", "max-age"}}, []string{"Cache-Control"}},
		{"max-age of nothing", []header{consent, {"Cache-Control", "max-age="}}, []string{"Cache-Control"}},
		{"max-age below", []header{consent, {"Cache-Control", "no-cache, max-age=-1"}}, []string{"Cache-Control"}},
		{"max-age in part", []header{consent, {"Cache-Control", `max-age="1.5"`}}, []string{"Cache-Control"}},
		{"an endless quote", []header{consent, {"Cache-Control", `x="max-age=1`}}, []string{"Cache-Control"}},
		{
			"everything at once",
			[]header{{"X-Request-ID", "1"}, {"PSU-IP-Address", "10.0.0.1"}, {"PSU-IP-Port", "x"}, {"Merchant-ID", ""}, {"Cache-Control", "max-age=x"}},
			[]string{"Cache-Control", "Consent-ID", "Merchant-ID", "Merchant-Name", "PSU-IP-Address", "PSU-IP-Port", "X-Request-ID"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			for i := range tt.want {
				tt.want[i] = text + strings.TrimPrefix(tt.want[i], text)
			}
			got := s.do(t, http.MethodGet, accountsOf, append(tt.headers, apiKey)...)
			p := got.problem()
			if diff := cmp.Diff(tt.want, p.named()); diff != "" || got.status != 400 {
				t.Errorf("answered %d: %s", got.status, diff)
			}
			if id := got.header.Get("X-Request-ID"); uuid.Validate(id) != nil || id != p.RequestID || len(id) != 36 || id == theirID {
				t.Errorf("answered under %q", id)
			}
			if len(s.gateway.asked) != 0 {
				t.Error("the gateway was asked")
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		address string
		public  bool
	}{
		{"192.0.2.17", true},
		{"100.64.0.1", false},
		{"255.255.255.255", false},
		{"198.51.100.1", true},
		{"203.0.113.255", true},
		{"100.63.255.255", true},
		{"100.127.255.255", false},
		{"100.128.0.0", true},
		{"198.17.255.255", true},
		{"198.18.0.0", false},
		{"198.19.255.255", false},
		{"198.20.0.0", true},
		{"1.0.0.0", true},
		{"0.1.2.3", false},
		{"223.255.255.255", true},
		{"239.255.255.255", false},
		{"240.0.0.1", false},
		{"192.88.99.1", true},
		{"192.0.0.1", false},
		{"192.0.0.8", false},
		{"192.0.0.9", true},
		{"192.0.0.10", true},
		{"192.0.0.11", false},
		{"192.0.0.255", false},
		{"191.255.255.255", true},
		{"192.0.1.0", true},
		{"feff::1", false},
		{"2001::1", false},             // Teredo of 255.255.255.254
		{"2001:0:1::f5ff:fffe", false}, // Teredo of 10.0.0.1
		{"2001:0:1::34ff:8ef8", true},  // Teredo of 203.0.113.7
		{"2001:1::", false},
		{"2001:1::1", true},
		{"2001:2::1", false},
		{"2001:3::1", true},
		{"2001:10::1", false},
		{"2001:1f:ffff::1", false},
		{"2001:20::1", true},
		{"2001:30::1", true},
		{"2001:40::1", false},
		{"2001:1ff:ffff::1", false},
		{"2001:200::1", true},
		{"2002:cb00:7107::1", true}, // 6to4 of 203.0.113.7
		{"2002:a00:1::1", false},
		{"2002:7f00:1::1", false},
		{"2002:e000:1::1", false},
		{"1fff:ffff::1", false},
		{"2000::1", true},
		{"2a00:1450::1", true},
		{"3fff:ffff::1", true},
		{"4000::1", false},
		{"5f00::1", false},
		{"100::1", false},
		{"::192.0.2.17", false},
		{"::127.0.0.1", false},
		{"::ffff:0:203.0.113.7", false},
		{"::ffff:100.64.0.1", false},
		{"172.15.255.255", true},
		{"172.32.0.0", true},
		{"2001:DB8::1", true},
		{"::ffff:192.0.2.17", true},
		{"fec0::1", false},
		{"64:ff9b::a00:1", false},
		{"64:ff9b::7f00:1", false},
		{"64:ff9b::203.0.113.7", true},
		{"64:ff9b:0:0:1::203.0.113.7", false},
		{"64:ff9b:1::203.0.113.7", false},
		{"127.0.0.1", false},
		{"127.255.0.1", false},
		{"::1", false},
		{"10.1.2.3", false},
		{"172.16.0.1", false},
		{"172.31.255.255", false},
		{"192.168.0.1", false},
		{"fd00::1", false},
		{"fc00::1", false},
		{"169.254.1.1", false},
		{"fe80::1", false},
		{"0.0.0.0", false},
		{"::", false},
		{"224.0.0.1", false},
		{"ff02::1", false},
		{"::ffff:10.0.0.1", false},
		{"::ffff:7f00:1", false},
	}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			for _, lifted := range []bool{false, true} {
				s := open(t, good(), func(c *api.Config) { c.AllowPrivateIP = lifted })
				got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, header{"PSU-IP-Address", tt.address})
				if (got.status == 200) != (tt.public || lifted) {
					t.Errorf("answered %d, private allowed: %v", got.status, lifted)
				}
				if got.status == 200 && s.gateway.asked[0].query.PSU.IP != netip.MustParseAddr(tt.address).Unmap() {
					t.Errorf("became %v", s.gateway.asked[0].query.PSU.IP)
				}
			}
		})
	}
	s := open(t, good(), func(c *api.Config) { c.AllowPrivateIP = true })
	if got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, header{"PSU-IP-Address", "fe80::1%eth0"}); got.status != 400 {
		t.Errorf("a zone is answered %d", got.status)
	}
}

func TestWhatTheGatewayIsAsked(t *testing.T) {
	text := strings.Repeat("ж", 256)
	full := []header{
		apiKey,
		{"Consent-ID", text},
		{"Provider-Authorization", "bearer a.b~c+/="},
		{"X-Request-ID", theirID},
		{"PSU-IP-Address", "2001:db8::1"},
		{"PSU-IP-Port", "65535"},
		{"PSU-User-Agent", "Mozilla/5.0 (жук)"},
		{"PSU-Device-ID", theirID},
		{"PSU-Geo-Location", "GEO:1;2"},
		{"TPP-Customer-ID", "c 1"},
		{"Merchant-ID", "m"},
		{"Merchant-Name", "n"},
	}
	query := canonical.Query{
		ASPSP: bank, Consent: text, Token: "a.b~c+/=", RequestID: theirID, Customer: "c 1",
		PSU: &canonical.PSU{
			IP: netip.MustParseAddr("2001:db8::1"), Port: 65535, UserAgent: "Mozilla/5.0 (жук)", DeviceID: theirID, GeoLocation: "GEO:1;2",
		},
		Merchant: &canonical.Merchant{ID: "m", Name: "n"},
	}
	tests := []struct {
		name, method, target string
		headers              []header
		want                 asked
	}{
		{"accounts", http.MethodGet, strings.ToUpper(accountsOf[11:47]), full, asked{call: "accounts", client: "all", query: query}},
		{"balances", http.MethodGet, balancesOf("1"), full, asked{call: "balances", client: "all", account: "1", query: query}},
		{"access", http.MethodGet, accessOf, full, asked{call: "access", unit: unattended.Call{ASPSP: bank, Consent: text}}},
		{"access of an account", http.MethodGet, accessOf + "?accountId=a%2Fb%2B+c", full, asked{call: "access", unit: unattended.Call{ASPSP: bank, Consent: text, Account: "a/b+ c"}}},
		{"access of all balances", http.MethodGet, accessOf + "?allBalances=true", full, asked{call: "access", unit: unattended.Call{ASPSP: bank, Consent: text, AllBalances: true}}},
		{"forget", http.MethodDelete, cachedOf, full, asked{call: "forget", client: "all", query: query}},
		{
			"little", http.MethodGet, accountsOf,
			[]header{apiKey, consent, {"X-Request-ID", theirID}},
			asked{call: "accounts", client: "all", query: canonical.Query{ASPSP: bank, Consent: consent.value, RequestID: theirID}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			target := tt.target
			if tt.name == "accounts" {
				target = "/v1/aspsps/" + tt.target + "/accounts"
			}
			if got := s.do(t, tt.method, target, tt.headers...); got.status >= 300 {
				t.Fatalf("answered %d %s", got.status, got.body)
			}
			if diff := cmp.Diff([]asked{tt.want}, s.gateway.asked, cmp.AllowUnexported(asked{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
			// A Secret prints as [secret] in the diff, and so it is compared by itself.
			if s.gateway.asked[0].query.Token.Reveal() != tt.want.query.Token.Reveal() {
				t.Error("another token")
			}
		})
	}
}

func TestMadeRequestID(t *testing.T) {
	s := open(t, good())
	got := s.do(t, http.MethodGet, accountsOf, apiKey, consent)
	id := got.header.Get("X-Request-ID")
	if uuid.Validate(id) != nil || s.gateway.asked[0].query.RequestID != id {
		t.Errorf("made %q, asked under %q", id, s.gateway.asked[0].query.RequestID)
	}
	if again := s.do(t, http.MethodGet, accountsOf, apiKey, consent); again.header.Get("X-Request-ID") == id {
		t.Error("made the same id twice")
	}
}

func TestCacheControl(t *testing.T) {
	age := func(d time.Duration) *time.Duration { return &d }
	tests := []struct {
		value string
		want  gateway.CacheControl
	}{
		{"no-cache", gateway.CacheControl{NoCache: true}},
		{"NO-Cache, x", gateway.CacheControl{NoCache: true}},
		{"only-if-cached", gateway.CacheControl{OnlyIfCached: true}},
		{" only-if-cached ,max-age=0,", gateway.CacheControl{OnlyIfCached: true, MaxAge: age(0)}},
		{"max-age=60", gateway.CacheControl{MaxAge: age(time.Minute)}},
		{`Max-Age="60"`, gateway.CacheControl{MaxAge: age(time.Minute)}},
		{"max-age=60, max-age=30, max-age=90", gateway.CacheControl{MaxAge: age(30 * time.Second)}},
		{"max-age=99999999999999999999", gateway.CacheControl{MaxAge: age(1 << 31 * time.Second)}},
		{"max-age=4294967296", gateway.CacheControl{MaxAge: age(1 << 31 * time.Second)}},
		{`no-store, no-transform, x="a, max-age=1, \", no-cache", max-stale`, gateway.CacheControl{}},
		{"s-maxage=x", gateway.CacheControl{}},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			s := open(t, good())
			if got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, header{"Cache-Control", tt.value}); got.status != 200 {
				t.Fatalf("answered %d %s", got.status, got.body)
			}
			if diff := cmp.Diff(tt.want, s.gateway.asked[0].wants); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAccountIDs(t *testing.T) {
	tests := []struct{ segment, want string }{ // want is "" for a refusal
		{"..%2F..%2Fadmin", "../../admin"},
		{"a%252Fb", "a%2Fb"},
		{"a%2Fb", "a/b"},
		{"a%2fb", "a/b"},
		{"a+b%2Fc", "a+b/c"},
		{"a%2Bb/c", ""},
		{"%25", "%"},
		{"%2541", "%41"},
		{"%2525", "%25"},
		{"%41", "A"},
		{"a%20b", "a b"},
		{"%3Fx=1%23y", "?x=1#y"},
		{"%D0%BA%D0%BB%D1%8E%D1%87%3A1", "ключ:1"},
		{"ключ%2F1", "ключ/1"},
		{`a"%2Fb`, `a"/b`},
		{"aa:q648383844dhhfHhTV", "aa:q648383844dhhfHhTV"},
		{":accountId", ":accountId"},
		{"...", "..."},
		{".%2F", "./"},
		{"%2F", "/"},
		{"balances", "balances"},
		{strings.Repeat("%D0%B6", 256), strings.Repeat("ж", 256)},
		{strings.Repeat("%D0%B6", 257), ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"%2e%2e", ""},
		{".%2E", ""},
		{"%2e", ""},
		{"%00", ""},
		{"a%0A", ""},
		{"%7F", ""},
		{"%C2%85", ""},
		{"%FF", ""},
		{"%ED%A0%80", ""},
	}
	for _, tt := range tests {
		t.Run(tt.segment, func(t *testing.T) {
			s := open(t, good())
			got := s.do(t, http.MethodGet, balancesOf(tt.segment), apiKey, consent)
			switch {
			case tt.want != "":
				if got.status != 200 || len(s.gateway.asked) != 1 || s.gateway.asked[0].account != tt.want {
					t.Errorf("answered %d, asked for %+v", got.status, s.gateway.asked)
				}
			case strings.Contains(tt.segment, "/"):
				if got.status != 404 || got.problem().Code != "NOT_FOUND" {
					t.Errorf("answered %d", got.status)
				}
			default:
				if got.status != 400 || !slices.Equal(got.problem().named(), []string{"path accountId"}) {
					t.Errorf("answered %d %s", got.status, got.body)
				}
			}
			if strings.Contains(tt.segment, "/") {
				return
			}
			inQuery := strings.NewReplacer("+", "%2B", "=", "%3D", ";", "%3B", `"`, "%22").Replace(tt.segment)
			got = s.do(t, http.MethodGet, accessOf+"?accountId="+inQuery, apiKey, consent)
			if tt.want == "" && (got.status != 400 || !slices.Equal(got.problem().named(), []string{"query accountId"})) {
				t.Errorf("in a query: answered %d %s", got.status, got.body)
			}
			if tt.want != "" && (got.status != 200 || s.gateway.asked[1].unit.Account != tt.want) {
				t.Errorf("in a query: answered %d, asked for %+v", got.status, s.gateway.asked)
			}
		})
	}
}

func TestIllPathsAndQueries(t *testing.T) {
	tests := []struct{ target, want string }{
		{"/v1/aspsps/1", "path aspspId"},
		{"/v1/aspsps//accounts", "path aspspId"},
		{"/v1/aspsps/" + strings.ReplaceAll(bank, "-", "") + "/accounts", "path aspspId"},
		{"/v1/aspsps/" + bank + "%20/accounts", "path aspspId"},
		{"/v1/aspsps/%7B" + bank + "%7D", "path aspspId"},
		{accessOf + "?accountId=1&accountId=1", "query accountId"},
		{accessOf + "?accountId=%zz", "query accountId"},
		{accessOf + "?accountid=1", "query accountid"},
		{accessOf + "?allBalance", "query allBalance"},
		{accessOf + "?account_id=1", "query account_id"},
		{accessOf + "?allBalances", "query allBalances"},
		{accessOf + "?allBalances=", "query allBalances"},
		{accessOf + "?allBalances=false", "query allBalances"},
		{accessOf + "?allBalances=True", "query allBalances"},
		{accessOf + "?allBalances=1", "query allBalances"},
		{accessOf + "?allBalances=true&allBalances=true", "query allBalances"},
		{accessOf + "?allBalances=true&accountId=1", "query allBalances"},
		{accessOf + "?allbalances=true", "query allbalances"},
		{accessOf + "?accountId=1&x-1.2=1", "query x-1.2"},
		{accessOf + "?accountId=1&1x=1", "query (unknown)"},
		{accessOf + "?accountId=1&x!=1", "query (unknown)"},
		{accessOf + "?accountId=1&x%0A=1", "query (unknown)"},
		{accessOf + "?DE89370400440532013000=1", "query (unknown)"},
		{accessOf + "?" + strings.Repeat("a", 32), "query " + strings.Repeat("a", 32)},
		{accessOf + "?" + strings.Repeat("a", 33), "query (unknown)"},
		{accessOf + "?=1", "query (unknown)"},
		{accessOf + "?x=%", "query accountId"},
		{accessOf + "?accountId=1;2", "query accountId"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			got := open(t, good()).do(t, http.MethodGet, tt.target, apiKey, consent)
			if diff := cmp.Diff([]string{tt.want}, got.problem().named()); diff != "" || got.status != 400 {
				t.Errorf("answered %d: %s", got.status, diff)
			}
		})
	}
	encoded := "/v1/aspsps/%34" + bank[1:]
	if got := open(t, good()).do(t, http.MethodGet, encoded, apiKey); got.status != 200 {
		t.Errorf("a percent-encoded id is answered %d", got.status)
	}
}

// TestNothingComesOut sends a canary in every field of a request, valid or not, and checks that
// responses and log do not contain it.
func TestNothingComesOut(t *testing.T) {
	const canary = "Maria-17"
	targets := []string{
		balancesOf(canary), balancesOf(canary + "%00"), accessOf + "?accountId=" + canary, accessOf + "?" + canary + "=%zz",
		"/v1/aspsps/" + canary + "/accounts", "/" + canary, "/v1/aspsps?" + canary, accountsOf + "/" + canary,
	}
	failures := []error{canonical.NewError(canonical.CounterUnavailable, ""), canonical.NewError(canonical.InternalError, "")}
	names := append(headerNames(t), "X-API-Key", "Authorization", "X-Other", "Traceparent", "Cookie")
	for _, target := range targets {
		for _, name := range names {
			for _, value := range []string{canary, "Bearer " + canary, canary + "\xff", strings.Repeat(canary, 40)} {
				s := open(t, good())
				s.gateway.err = failures[len(value)%2]
				got := s.do(t, http.MethodGet, target, apiKey, consent, header{name, value})
				out := got.body
				for _, values := range got.header {
					out += strings.Join(values, "\n")
				}
				s.lines(t)
				if strings.Contains(out+s.log.String(), canary) {
					t.Errorf("%s with %s: %s\n%s", target, name, out, s.log)
				}
			}
		}
	}
}

func FuzzPathSegment(f *testing.F) {
	for _, seed := range []string{
		"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "%41", "?x=1#y", "ключ:1", ".", "..", "", "\x00", "\u0085", "\xff", " ", ";",
		"balances", strings.Repeat("a", 257), "\u2028", `"`, "*",
	} {
		f.Add(seed)
	}
	s := open(f, good())
	f.Fuzz(func(t *testing.T, id string) {
		s.gateway.mu.Lock()
		s.gateway.asked = nil
		s.gateway.mu.Unlock()
		got := s.do(t, http.MethodGet, balancesOf(url.PathEscape(id)), apiKey, consent)
		if refusable(id) {
			if got.status != 400 || !slices.Equal(got.problem().named(), []string{"path accountId"}) {
				t.Errorf("%q: answered %d %s", id, got.status, got.body)
			}
			return
		}
		if got.status != 200 || len(s.gateway.asked) != 1 || s.gateway.asked[0].account != id {
			t.Errorf("%q: answered %d, asked for %+v", id, got.status, s.gateway.asked)
		}
	})
}

// refusable reports whether the contract refuses an accountId. It checks each rune, so that it
// shares no code with the implementation.
func refusable(id string) bool {
	length := 0
	for i, c := range id {
		if c < 0x20 || 0x7f <= c && c < 0xa0 || c == '\uFFFD' && !strings.HasPrefix(id[i:], "\uFFFD") {
			return true
		}
		length++
	}
	return length == 0 || length > 256 || id == "." || id == ".."
}

func FuzzHeaders(f *testing.F) {
	known := append(headerNames(f), "X-API-Key", "Authorization")
	seed := func(a, b header) {
		at := func(h header) uint8 { return uint8(slices.Index(known, h.name)) }
		f.Add(at(a), a.value, at(b), b.value)
	}
	seed(header{"Consent-ID", "x"}, header{"PSU-IP-Address", "192.0.2.1"})
	seed(header{"PSU-IP-Port", "65535"}, header{"PSU-IP-Address", "::ffff:1.2.3.4"})
	seed(header{"Cache-Control", `max-age="1", x="\"`}, header{"Merchant-ID", "1"})
	seed(header{"Provider-Authorization", "Bearer x"}, header{"Authorization", "Bearer " + allScope})
	seed(header{"X-Request-ID", theirID}, header{"X-Request-ID", ""})
	seed(header{"X-API-Key", ""}, header{"Cache-Control", "max-age=99999999999999999999"})
	s := open(f, good())
	f.Fuzz(func(t *testing.T, name1 uint8, value1 string, name2 uint8, value2 string) {
		if !sendable(value1) || !sendable(value2) {
			return
		}
		name := func(i uint8) string { return known[int(i)%len(known)] }
		headers := []header{apiKey, consent, {name(name1), value1}, {name(name2), value2}}
		got := s.do(t, http.MethodGet, accountsOf, headers...)
		switch got.status {
		case 200, 401:
		case 400:
			names := got.problem().named()
			for _, n := range names {
				if !slices.Contains(known, strings.TrimPrefix(n, "header ")) {
					t.Errorf("%q is refused as %q", headers, n)
				}
			}
			if len(names) == 0 || len(slices.Compact(names)) != len(got.problem().Errors) {
				t.Errorf("%q is refused with %v", headers, got.problem().Errors)
			}
		default:
			t.Errorf("%q is answered %d", headers, got.status)
		}
	})
}

// sendable reports whether net/http's client sends a value (RFC 9110, section 5.5).
func sendable(value string) bool {
	for i := range len(value) {
		if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return len(value) < 16384
}
