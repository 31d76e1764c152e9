package adapterconfig_test

import (
	"net/http"
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
	for _, tt := range []struct {
		name, fault string
		option      map[string]string
		want        http.Header
	}{
		{"none", "", nil, http.Header{}},
		{"two", "", map[string]string{"x-ibm-client-id": "a b", "aspsp-code": "1"}, http.Header{"X-Ibm-Client-Id": {"a b"}, "Aspsp-Code": {"1"}}},
		{"no name", "contains a name that is not a header name", map[string]string{"a b": "1"}, http.Header{}},
		{"of HTTP", "contains a header that the gateway sets itself", map[string]string{"host": "1"}, http.Header{}},
		{"of a caller", "contains a header that the gateway sets itself", map[string]string{"X-API-Key": "1"}, http.Header{}},
		{"of the adapter", "contains a header that the gateway sets itself", map[string]string{"consent-id": "1"}, http.Header{}},
		{"twice", "contains a header twice", map[string]string{"A": "1", "a": "2"}, http.Header{"A": {"1"}}},
		{"empty", "contains a value that is empty or not printable ASCII", map[string]string{"a": ""}, http.Header{}},
		{"line", "contains a value that is empty or not printable ASCII", map[string]string{"a": "1\r\nb: 2"}, http.Header{}},
	} {
		var faults config.Faults
		got := adapterconfig.Headers(providers.ASPSP{Path: "o"}, tt.option, []string{"Consent-Id"}, &faults)
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
