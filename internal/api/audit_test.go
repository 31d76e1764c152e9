package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
)

// auditor keeps records. The request id of a record shows whether the observer's context is
// missing.
type auditor chan event.Request

func (auditor) Reserve(int) bool { return true }

func (a auditor) Write(ctx context.Context, e event.Request) {
	if ctx.Value(marked{}) == nil {
		e.RequestID = "in another context"
	}
	a <- e
}

func TestAuditEntries(t *testing.T) {
	yes, no := true, false
	const given = "GFiTpF3:EBy5xGqQMatk"
	long := header{"Consent-ID", strings.Repeat("x", 300)}
	accountsRoute := "/v1/aspsps/{aspspId}/accounts"
	for _, tt := range []struct {
		name, method, target string
		headers              []header
		err                  error
		want                 *event.Request // nil for none
	}{
		{
			name: "answered", target: accountsOf, headers: []header{apiKey, consent, attended},
			want: &event.Request{
				RequestedASPSP: bank, Consent: given,
				Route: accountsRoute, Status: 200, ASPSP: bank, Provider: "mastercard", Client: "all", Cache: "miss", Attended: &yes,
			},
		},
		{
			name: "refused", target: accountsOf, headers: []header{apiKey, consent}, err: canonical.NewError(canonical.UnattendedLimit, ""),
			want: &event.Request{
				RequestedASPSP: bank, Consent: given,
				Route: accountsRoute, Status: 429, Code: "UNATTENDED_LIMIT", ASPSP: bank, Provider: "mastercard", Client: "all", Cache: "miss", Attended: &no,
			},
		},
		{
			name: "not let in", target: accountsOf, headers: []header{consent},
			want: &event.Request{RequestedASPSP: bank, Consent: given, Route: accountsRoute, Status: 401, Code: "UNAUTHENTICATED"},
		},
		{
			name: "without a consent that is one", target: accountsOf, headers: []header{apiKey, long},
			want: &event.Request{
				RequestedASPSP: bank,
				Route:          accountsRoute, Status: 400, Code: "FORMAT_ERROR", ASPSP: bank, Provider: "mastercard", Client: "all",
			},
		},
		{
			name: "a stranger", target: "/v1/aspsps/" + stranger + "/accounts", headers: []header{apiKey, consent},
			want: &event.Request{RequestedASPSP: stranger, Consent: given, Route: accountsRoute, Status: 404, Code: "ASPSP_UNKNOWN", Client: "all"},
		},
		{
			name: "no route", method: "MARIA", target: "/v1/maria", headers: []header{apiKey, consent},
			want: &event.Request{Method: "OTHER", Status: 404, Code: "NOT_FOUND"},
		},
		{name: "not under /v1", target: "/openapi.yaml"},
		{name: "nowhere", target: "/v10/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, kept, o := good(), make(auditor, 1), &observer{}
			f.err = tt.err
			clock, began := time.Unix(0, 0), time.Unix(1, 0)
			s := open(t, f, func(c *api.Config) {
				c.Auditor, c.Observer = kept, o
				c.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
			})
			method := http.MethodGet
			if tt.method != "" {
				method = tt.method
			}
			s.do(t, method, tt.target, append(tt.headers, header{"X-Request-ID", theirID})...)
			o.outcome(t) // the observer is called last
			if tt.want == nil {
				select {
				case e := <-kept:
					t.Errorf("kept %+v", e)
				default:
				}
				return
			}
			want := *tt.want
			want.Read = want.Attended != nil
			if want.Client != "" {
				want.IdentifiedBy = "api_key"
			}
			want.AuditReserved = want.Route != ""
			want.Start, want.Duration, want.RequestID = began, time.Second, theirID
			if want.Method == "" {
				want.Method = http.MethodGet
			}
			select {
			case got := <-kept:
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			default:
				t.Error("nothing was kept")
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	want := []string{"/openapi.yaml"}
	for path := range document(t).Paths.Map() {
		if path != want[0] {
			want = append(want, path)
		}
	}
	got := map[string]bool{}
	for _, template := range api.Templates() {
		got[template] = true
	}
	for _, template := range want {
		if !got[template] {
			t.Errorf("no %s", template)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// full is an auditor without space.
type full struct{ auditor }

func (full) Reserve(int) bool { return false }

// TestNoRoomForTheRecord checks that a request without space for its audit record is refused before
// all other work, and that requests that are not recorded are served.
func TestNoRoomForTheRecord(t *testing.T) {
	for target, want := range map[string]int{accountsOf: http.StatusServiceUnavailable, "/v1/nowhere": http.StatusNotFound, "/openapi.yaml": http.StatusOK} {
		f, o := good(), &observer{}
		asked := false
		f.during = func(context.Context) { asked = true }
		s := open(t, f, func(c *api.Config) { c.Auditor, c.Observer = full{make(auditor, 1)}, o })
		got := s.do(t, http.MethodGet, target, apiKey, consent)
		if got.status != want || asked {
			t.Errorf("%s: %d, provider asked: %t", target, got.status, asked)
		}
		if want != http.StatusServiceUnavailable {
			continue
		}
		if code := got.problem().Code; code != "OVERLOADED" || len(o.refused) != 1 || o.refused[0] != "audit " {
			t.Errorf("%s: %s, %q", target, code, o.refused)
		}
		if line := s.lines(t)[0]; line["code"] != "OVERLOADED" || line["status"] != 503. {
			t.Errorf("%s: the log says %v", target, line)
		}
	}
}
