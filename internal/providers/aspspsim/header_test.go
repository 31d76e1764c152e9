package aspspsim

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHeaders(t *testing.T) {
	headers := Headers{
		Mandatory: map[string]func(string) bool{"X-Request-Id": IsUUID, "Authorization": IsBearer},
		Optional:  map[string]func(string) bool{"Psu-Ip-Address": IsAddress, "Psu-Ip-Port": IsPort, "Psu-Geo-Location": IsText},
	}
	const id = "a552babc-7081-44e7-9361-61eb17e0bfd9"
	for name, tt := range map[string]struct {
		change http.Header // of a valid request
		want   string
	}{
		"valid":             {nil, ""},
		"of HTTP":           {http.Header{"Accept": {"a", "b"}}, ""},
		"all":               {http.Header{"Psu-Ip-Address": {"2001:db8::1"}, "Psu-Ip-Port": {"65535"}, "Psu-Geo-Location": {"x"}}, ""},
		"missing":           {http.Header{"X-Request-Id": nil}, "X-Request-Id"},
		"repeated":          {http.Header{"X-Request-Id": {id, id}}, "X-Request-Id"},
		"ill-formed":        {http.Header{"Authorization": {"Bearer a b"}}, "Authorization"},
		"optional repeated": {http.Header{"Psu-Ip-Port": {"1", "2"}}, "Psu-Ip-Port"},
		"optional":          {http.Header{"Psu-Ip-Port": {"0"}, "Psu-Ip-Address": {"300.1.1.1"}}, "Psu-Ip-Address"},
		"undocumented":      {http.Header{"Traceparent": {"x"}}, "Traceparent"},
	} {
		header := http.Header{"X-Request-Id": {id}, "Authorization": {"Bearer abc"}}
		for key, values := range tt.change {
			header[key] = values
		}
		if got := headers.Invalid(header); got != tt.want {
			t.Errorf("%s: %q is invalid, want %q", name, got, tt.want)
		}
	}
}

func TestEcho(t *testing.T) {
	for id, want := range map[string]string{"A552babc-7081-44e7-9361-61eb17e0bfd9": "A552babc-7081-44e7-9361-61eb17e0bfd9", "1": "", "": ""} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Request-Id", id)
		Echo(w, r, "X-Request-Id")
		if got := w.Header().Get("X-Request-Id"); got != want {
			t.Errorf("the echo of %q is %q", id, got)
		}
	}
}
