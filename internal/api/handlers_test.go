package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

func parse(t *testing.T, number, currency string) canonical.Amount {
	t.Helper()
	a, err := canonical.ParseAmount(number, currency)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func encoded(t *testing.T, list ...canonical.Account) json.RawMessage {
	t.Helper()
	text, err := canonical.EncodeAccounts(list)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAnswers(t *testing.T) {
	iban := canonical.NewIdentification(canonical.SchemeIBAN, "BG80BNBG96611020345678")
	head := `{"aspspId":"` + bank + `","provider":"mastercard",`
	fresh := `"freshness":{"source":"provider","fetchedAt":"2026-11-20T10:00:00Z","ageSeconds":0,"stale":false}}` + "\n"
	balance := canonical.Balance{Type: canonical.InterimAvailable, ProviderType: "available", Amount: parse(t, "4.200", "PLN")}
	aspsp := `{"id":"` + bank + `","name":"Wood & Bank","provider":"mastercard",` +
		`"unattended":{"limit":4,"windowSeconds":86400,"unit":"consent"},"psuAddressRequired":false,` +
		`"requires":{"providerAuthorization":false,"consentIdFormat":"text"},` +
		`"capabilities":{"listWithBalances":false,"allBalances":false},"breaker":{"state":"half_open"}}`
	demanding := strings.NewReplacer(
		`"providerAuthorization":false`, `"providerAuthorization":true`, `"text"`, `"uuid"`, `"listWithBalances":false`, `"listWithBalances":true`,
	).Replace(aspsp)
	east := time.FixedZone("", 2*60*60)
	tests := []struct {
		name, method, target string
		set                  func(*fake)
		status               int
		want                 string
	}{
		{
			name: "ASPSPs", target: "/v1/aspsps",
			want: `{"aspsps":[` + aspsp + "]}\n",
		},
		{
			name: "one ASPSP", target: "/v1/aspsps/4F1E2D3C-0000-4000-8000-00000000000A",
			want: aspsp + "\n",
		},
		{
			name: "an ASPSP that requires and can do more", target: "/v1/aspsps/" + bank,
			set: func(f *fake) {
				f.requires = providers.Requirements{Token: true, ConsentUUID: true}
				f.capabilities = providers.Capabilities{ListWithBalances: true}
			},
			want: demanding + "\n",
		},
		{
			name: "an ASPSP that is never called without the user", target: "/v1/aspsps/" + bank,
			set:  func(f *fake) { f.psuAddressRequired = true },
			want: strings.Replace(aspsp, `"psuAddressRequired":false`, `"psuAddressRequired":true`, 1) + "\n",
		},
		{
			name: "all balances in one call", target: "/v1/aspsps/" + bank,
			set:  func(f *fake) { f.capabilities = providers.Capabilities{AllBalances: true} },
			want: strings.Replace(aspsp, `"allBalances":false`, `"allBalances":true`, 1) + "\n",
		},
		{
			name: "no accounts", target: accountsOf,
			want: head + `"accounts":[],` + fresh,
		},
		{
			name: "accounts, full and bare", target: accountsOf,
			set: func(f *fake) {
				f.list.Accounts = encoded(t,
					canonical.Account{
						ID: "aa:q/1", Key: "Vq3v0fT1mS8yKc2dXwZb7A", Identification: iban, Currency: "EUR", Type: "CACC", ProviderType: "cacc",
						Status: "enabled", HolderType: "personal", HolderName: "M & I", Name: "n", Nickname: "k", Relations: []string{"Owner"},
						OtherIdentifications: []canonical.Identification{canonical.NewIdentification(canonical.SchemePAN, "5500000000000004"), {Scheme: canonical.SchemeProvider, Value: "7"}},
					},
					canonical.Account{ID: "2", Identification: canonical.NewIdentification(canonical.SchemeIBAN, "BG00"), Type: canonical.AccountTypeOther},
					canonical.Account{ID: "3", Type: canonical.AccountTypeOther},
				)
			},
			want: head + `"accounts":[{"accountId":"aa:q/1","accountKey":"Vq3v0fT1mS8yKc2dXwZb7A","iban":"BG80BNBG96611020345678",` +
				`"identification":{"scheme":"IBAN","value":"BG80BNBG96611020345678"},` +
				`"otherIdentifications":[{"scheme":"PAN","value":"550000******0004"},{"scheme":"PROVIDER","value":"7"}],"currency":"EUR","type":"CACC",` +
				`"providerType":"cacc","status":"enabled","holderType":"personal","holderName":"M & I","name":"n","nickname":"k",` +
				`"relations":["Owner"]},{"accountId":"2","identification":{"scheme":"BBAN","value":"BG00"},"type":"OTHR"},` +
				`{"accountId":"3","type":"OTHR"}],` + fresh,
		},
		{
			name: "a stale list", target: accountsOf,
			set: func(f *fake) {
				f.list.Freshness = gateway.Freshness{
					Source: gateway.FromCache, FetchedAt: time.Date(2026, 11, 20, 12, 0, 0, 500_000_000, east),
					Age: 661*time.Second + 900*time.Millisecond, Stale: true, StaleReason: gateway.StaleByLimit,
				}
				f.list.Cache = gateway.CacheStatus{Hit: true, TTL: -time.Minute}
			},
			want: head + `"accounts":[],"freshness":{"source":"cache","fetchedAt":"2026-11-20T10:00:00.5Z","ageSeconds":661,` +
				`"stale":true,"staleReason":"unattended_limit"}}` + "\n",
		},
		{
			name: "no balances, nothing known", target: balancesOf("a%2Fb"),
			want: head + `"accountId":"a/b","balances":[],` + fresh,
		},
		{
			name: "balances by IBAN", target: balancesOf("1"),
			set: func(f *fake) {
				late := canonical.Balance{
					Type: canonical.BalanceTypeOther, Amount: parse(t, "-100.00", "JPY"),
					ReferenceTime: time.Date(2019, 3, 21, 12, 33, 13, 1_000_000, east),
				}
				dated, unread := balance, balance
				dated.ReferenceDate, unread.ProviderDateTime = "2026-01-14", "2026-01-14T10:00"
				f.sheet.AccountBalances = canonical.AccountBalances{
					Identification: iban, Name: "n", Balances: []canonical.Balance{balance, late, dated, unread},
				}
			},
			want: head + `"accountId":"1","account":{"iban":"BG80BNBG96611020345678","name":"n"},"balances":[` +
				`{"type":"ITAV","providerType":"available","amount":{"value":"4.20","currency":"PLN"},` +
				`"creditDebitIndicator":"CRDT","referenceDateTime":null},` +
				`{"type":"OTHR","amount":{"value":"-100","currency":"JPY"},` +
				`"creditDebitIndicator":"DBIT","referenceDateTime":"2019-03-21T10:33:13.001Z"},` +
				`{"type":"ITAV","providerType":"available","amount":{"value":"4.20","currency":"PLN"},` +
				`"creditDebitIndicator":"CRDT","referenceDateTime":null,"referenceDate":"2026-01-14"},` +
				`{"type":"ITAV","providerType":"available","amount":{"value":"4.20","currency":"PLN"},` +
				`"creditDebitIndicator":"CRDT","referenceDateTime":null,"providerDateTime":"2026-01-14T10:00"}],` + fresh,
		},
		{
			name: "balances by another number", target: balancesOf("1"),
			set: func(f *fake) {
				f.sheet.Identification = canonical.NewIdentification(canonical.SchemePAN, "5500000000000004")
			},
			want: head + `"accountId":"1","account":{"identification":{"scheme":"PAN","value":"550000******0004"}},"balances":[],` + fresh,
		},
		{
			name: "access with calls left", target: accessOf,
			set: func(f *fake) {
				f.state = unattended.Usage{
					Limit: 4, Used: 1, Remaining: 3, Window: 24 * time.Hour, Unit: config.UnitResource,
					Wait: time.Hour, NextAt: time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC),
				}
			},
			want: `{"limit":4,"used":1,"remaining":3,"unit":"resource","windowSeconds":86400,"nextSlotAt":null}` + "\n",
		},
		{
			name: "access with none left", target: accessOf,
			set: func(f *fake) {
				f.state = unattended.Usage{
					Limit: 4, Used: 1, Window: 25 * time.Hour, Unit: config.UnitASPSP,
					Wait: time.Hour, NextAt: time.Date(2026, 11, 20, 13, 0, 0, 0, east),
				}
			},
			want: `{"limit":4,"used":1,"remaining":0,"unit":"aspsp","windowSeconds":90000,"nextSlotAt":"2026-11-20T11:00:00Z"}` + "\n",
		},
		{
			name: "access never", target: accessOf,
			set:  func(f *fake) { f.state = unattended.Usage{Window: 24 * time.Hour, Unit: config.UnitConsent} },
			want: `{"limit":0,"used":0,"remaining":0,"unit":"consent","windowSeconds":86400,"nextSlotAt":null}` + "\n",
		},
		{name: "forgotten", method: http.MethodDelete, target: cachedOf, status: http.StatusNoContent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, good())
			if tt.set != nil {
				tt.set(s.gateway)
			}
			method, status := http.MethodGet, http.StatusOK
			if tt.method != "" {
				method, status = tt.method, tt.status
			}
			got := s.do(t, method, tt.target, apiKey, consent)
			if got.status != status {
				t.Errorf("status is %d", got.status)
			}
			if diff := cmp.Diff(tt.want, got.body); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCacheHeaders(t *testing.T) {
	hit := gateway.Freshness{Source: gateway.FromCache, Age: 20*time.Second + 400*time.Millisecond}
	stale := func(r gateway.StaleReason) gateway.Freshness {
		return gateway.Freshness{Source: gateway.FromCache, Age: 660 * time.Second, Stale: true, StaleReason: r}
	}
	called := gateway.Freshness{Source: gateway.FromProvider}
	tests := []struct {
		name      string
		cache     gateway.CacheStatus
		freshness gateway.Freshness
		want, age string
		result    gateway.CacheResult
	}{
		{"hit", gateway.CacheStatus{Hit: true, TTL: 579*time.Second + 600*time.Millisecond}, hit, "ais-gateway; hit; ttl=580", "20", "hit"},
		{"miss", gateway.CacheStatus{Forward: gateway.ForwardMiss, Stored: true}, called, "ais-gateway; fwd=miss; stored", "", "miss"},
		{"miss not kept", gateway.CacheStatus{Forward: gateway.ForwardMiss}, called, "ais-gateway; fwd=miss", "", "miss"},
		{"no-cache", gateway.CacheStatus{Forward: gateway.ForwardRequest, Stored: true}, called, "ais-gateway; fwd=request; stored", "", "bypass"},
		{"too old", gateway.CacheStatus{Forward: gateway.ForwardStale, Stored: true}, called, "ais-gateway; fwd=stale; stored", "", "miss"},
		{"collapsed", gateway.CacheStatus{Forward: gateway.ForwardMiss, Collapsed: true}, called, "ais-gateway; fwd=miss; collapsed", "", "collapsed"},
		{
			"stale by limit",
			gateway.CacheStatus{Hit: true, TTL: -time.Minute},
			stale(gateway.StaleByLimit),
			"ais-gateway; hit; ttl=-60; detail=unattended_limit", "660", "stale",
		},
		{
			"stale without a counter",
			gateway.CacheStatus{Hit: true, TTL: -time.Minute},
			stale(gateway.StaleWithoutCounter),
			"ais-gateway; hit; ttl=-60; detail=counter_unavailable", "660", "stale",
		},
		{
			"stale without the user",
			gateway.CacheStatus{Hit: true, TTL: -time.Minute},
			stale(gateway.StaleWithoutUser),
			"ais-gateway; hit; ttl=-60; detail=psu_address_required", "660", "stale",
		},
		{
			"hardly stale",
			gateway.CacheStatus{Hit: true, TTL: -time.Millisecond},
			stale(gateway.StaleWithoutProvider),
			"ais-gateway; hit; ttl=-1; detail=provider_unavailable", "660", "stale",
		},
		{"stale as asked", gateway.CacheStatus{Hit: true, TTL: -time.Minute}, stale(""), "ais-gateway; hit; ttl=-60", "660", "stale"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			f.list = gateway.AccountsResult{Accounts: json.RawMessage("[]"), Cache: tt.cache, CacheResult: tt.result, Freshness: tt.freshness}
			o := &observer{}
			s := open(t, f, func(c *api.Config) { c.Observer = o })
			got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, attended)
			if h := got.header.Get("Cache-Status"); h != tt.want {
				t.Errorf("Cache-Status is %q, want %q", h, tt.want)
			}
			if h := got.header.Get("Age"); h != tt.age {
				t.Errorf("Age is %q, want %q", h, tt.age)
			}
			told, refused := o.outcome(t), slices.Contains([]gateway.StaleReason{"unattended_limit", "psu_address_required", "counter_unavailable"}, tt.freshness.StaleReason)
			if told.Cache != string(tt.result) || told.StaleByLimit != refused {
				t.Errorf("the observer was told %q, refused %t, want %q, %t", told.Cache, told.StaleByLimit, tt.result, refused)
			}
		})
	}
}

func TestRateLimitHeaders(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name          string
		state         *unattended.Usage
		policy, limit string
	}{
		{"unused", &unattended.Usage{Limit: 4, Remaining: 4, Window: day}, `"unattended";q=4;w=86400`, `"unattended";r=4`},
		{
			"used", &unattended.Usage{Limit: 4, Used: 1, Remaining: 3, Window: day, Wait: 80_999*time.Second + 1},
			`"unattended";q=4;w=86400`, `"unattended";r=3;t=81000`,
		},
		{
			"closed unused", &unattended.Usage{Limit: 4, Window: 90 * time.Minute, Wait: time.Minute},
			`"unattended";q=4;w=5400`, `"unattended";r=0;t=60`,
		},
		{"never", &unattended.Usage{Window: day}, `"unattended";q=0;w=86400`, `"unattended";r=0`},
		{"not to be read", nil, `"unattended";q=4;w=86400`, `"unattended";r=0`},
	}
	for _, tt := range tests {
		for _, failure := range []error{nil, canonical.NewError(canonical.ConsentExpired, ""), errors.New("x")} {
			t.Run(tt.name, func(t *testing.T) {
				f := good()
				f.list.Usage, f.sheet.Usage, f.err = tt.state, tt.state, failure
				s := open(t, f)
				for _, target := range []string{accountsOf, balancesOf("1")} {
					got := s.do(t, http.MethodGet, target, apiKey, consent)
					want := []string{tt.policy, tt.limit}
					if diff := cmp.Diff(want, []string{got.header.Get("RateLimit-Policy"), got.header.Get("RateLimit")}); diff != "" {
						t.Errorf("%s: %s", target, diff)
					}
					if got := s.do(t, http.MethodGet, target, apiKey, consent, attended); got.header.Get("RateLimit") != "" {
						t.Errorf("%s: an attended request got %v", target, got.header)
					}
				}
			})
		}
	}
}

func TestRateLimitOfAccess(t *testing.T) {
	s := open(t, good())
	s.gateway.state = unattended.Usage{Limit: 4, Used: 2, Remaining: 2, Window: time.Hour, Unit: config.UnitConsent, Wait: time.Second}
	got := s.do(t, http.MethodGet, accessOf, apiKey, consent)
	if h := got.header.Get("RateLimit"); h != `"unattended";r=2;t=1` {
		t.Errorf("RateLimit is %q", h)
	}
	s.gateway.err = canonical.NewError(canonical.CounterUnavailable, "")
	got = s.do(t, http.MethodGet, accessOf, apiKey, consent)
	if h := got.header.Get("RateLimit-Policy") + got.header.Get("RateLimit"); h != `"unattended";q=4;w=86400"unattended";r=0` {
		t.Errorf("without a counter they are %q", h)
	}
	for _, early := range [][]header{{consent}, {apiKey}, {{"X-API-Key", noScope}, consent}} {
		if got := s.do(t, http.MethodGet, accessOf, early...); got.header.Get("RateLimit-Policy") != "" {
			t.Errorf("%d: got %v before anything was asked", got.status, got.header)
		}
	}
}
