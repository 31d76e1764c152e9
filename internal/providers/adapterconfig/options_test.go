package adapterconfig_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapterconfig"
)

func details(faults config.Faults) (all []string) {
	for _, f := range faults {
		all = append(all, f.Path+": "+f.Detail)
	}
	return all
}

func TestBaseURL(t *testing.T) {
	for _, tt := range []struct{ name, provider, option, want, fault string }{
		{"of the provider", "https://provider.example", "", "https://provider.example", ""},
		{"of the ASPSP", "https://provider.example", "https://bank.example/psd2", "https://bank.example/psd2", ""},
		{"without that of the provider", "", "https://bank.example", "https://bank.example", ""},
		{"neither", "", "", "", "o.baseURL: is missing: neither the ASPSP nor its provider has a baseURL"},
		{"http", "https://provider.example", "http://bank.example", "", "o.baseURL: must be https (http only for loopback addresses)"},
		{"no URL", "https://provider.example", "bank.example", "", "o.baseURL: must be an absolute https URL"},
	} {
		var faults config.Faults
		provider, _ := url.Parse(tt.provider)
		got := adapterconfig.BaseURL(providers.Env{BaseURL: provider}, providers.ASPSP{Path: "o"}, tt.option, &faults)
		if (got == nil) != (tt.want == "") || got != nil && got.String() != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		var want []string
		if tt.fault != "" {
			want = []string{tt.fault}
		}
		if diff := cmp.Diff(want, details(faults)); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestHeaders(t *testing.T) {
	const setByGateway = "contains a header that the gateway sets itself, or that must not be fixed"
	for _, tt := range []struct {
		name, fault string
		option      map[string]string
		want        map[string]string
	}{
		{"none", "", nil, nil},
		{"two", "", map[string]string{"x-ibm-client-id": "a b", "aspsp-code": "1"}, map[string]string{"X-Ibm-Client-Id": "a b", "Aspsp-Code": "1"}},
		{"of a company", "", map[string]string{"PSU-Corporate-ID": "7"}, map[string]string{"Psu-Corporate-Id": "7"}},
		{"no name", "contains a name that is not a header name", map[string]string{"a b": "1"}, nil},
		{"name with a line", "contains a name that is not a header name", map[string]string{"a\nb": "1"}, nil},
		{"of HTTP", setByGateway, map[string]string{"host": "1"}, nil},
		{"of a caller", setByGateway, map[string]string{"X-API-Key": "1"}, nil},
		{"of the adapter", setByGateway, map[string]string{"consent-id": "1"}, nil},
		{"that allows net/http to send again", setByGateway, map[string]string{"x-idempotency-key": "1"}, nil},
		{"of a conditional request", setByGateway, map[string]string{"if-none-match": "1"}, nil},
		{"of a part", setByGateway, map[string]string{"range": "bytes=0-1"}, nil},
		{"of a proxy", setByGateway, map[string]string{"x-forwarded-for": "203.0.113.7"}, nil},
		{"about the user", setByGateway, map[string]string{"psu-ip-address": "203.0.113.7"}, nil},
		{"about the user, at UK Open Banking", setByGateway, map[string]string{"x-fapi-customer-last-logged-time": "1"}, nil},
		{"twice", "contains a header twice, or one that headers contains as well", map[string]string{"A": "1", "a": "2"}, map[string]string{"A": "1"}},
		{"empty", "contains a value that is empty or not printable ASCII", map[string]string{"a": " "}, nil},
		{"line", "contains a value that is empty or not printable ASCII", map[string]string{"a": "1\r\nb: 2"}, nil},
	} {
		var faults config.Faults
		fixed := adapterconfig.FixedHeaders(providers.ASPSP{Path: "o"}, tt.option, nil, []string{"Consent-Id"}, &faults)
		var got map[string]string
		for name, value := range fixed {
			if got == nil {
				got = map[string]string{}
			}
			got[name] = value.Reveal()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		var want []string
		if tt.fault != "" {
			want = []string{"o.headers: " + tt.fault}
		}
		if diff := cmp.Diff(want, details(faults)); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", tt.name, diff)
		}
	}
}
