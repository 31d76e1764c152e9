package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ais-gateway/internal/api"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
)

// lines returns the lines of the log. It waits for the line of the request, which is written after
// the response.
func (s *site) lines(t *testing.T) []map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Contains(s.log.String(), `"msg":"request"`) {
			break
		}
	}
	var lines []map[string]any
	for text := range strings.Lines(s.log.String()) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		t.Fatal("nothing was logged")
	}
	return lines
}

// observer records one request.
type observer struct {
	once    sync.Once
	got     chan event.Request
	last    event.Request
	method  string
	traced  string
	refused []string
}

type marked struct{}

func (o *observer) Request(ctx context.Context, method string, h http.Header) (context.Context, func(event.Request)) {
	o.once.Do(func() { o.got = make(chan event.Request, 1) })
	o.method, o.traced = method, h.Get("Traceparent")
	return context.WithValue(ctx, marked{}, true), func(r event.Request) { o.got <- r }
}

func (o *observer) Refused(_ context.Context, aspsp string, by bulkhead.Refusal) {
	o.refused = append(o.refused, string(by)+" "+aspsp)
}

// traceID is the trace id of every observed request.
const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func (o *observer) TraceID(ctx context.Context) string {
	if ctx.Value(marked{}) == nil {
		return ""
	}
	return traceID
}

func (o *observer) outcome(t *testing.T) event.Request {
	t.Helper()
	if o.last.Method == "" {
		select {
		case o.last = <-o.got:
		case <-time.After(time.Minute):
			t.Fatal("the request was not observed")
		}
	}
	return o.last
}

func TestOneLineOfLog(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name, method, target string
		headers              []header
		err                  error
		want                 map[string]any
		attended             *bool
		during               func(context.Context)
		slots                int
		waited               time.Duration
	}{
		{
			name: "attended", target: accountsOf, headers: []header{apiKey, consent, attended}, attended: &yes,
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}/accounts", "status": 200., "code": "", "client": "all",
				"aspsp_id": bank, "provider": "mastercard", "attended": true, "cache": "miss",
			},
		},
		{
			name: "unattended and refused", target: balancesOf("secret"), headers: []header{apiKey, consent}, attended: &no,
			err: canonical.NewError(canonical.UnattendedLimit, ""),
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}/accounts/{accountId}/balances", "status": 429.,
				"code": "UNATTENDED_LIMIT", "client": "all", "aspsp_id": bank, "provider": "mastercard", "attended": false, "cache": "",
			},
		},
		{
			name: "a stranger", target: "/v1/aspsps/" + stranger, headers: []header{apiKey},
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}", "status": 404., "code": "ASPSP_UNKNOWN",
				"client": "all", "aspsp_id": "", "provider": "", "cache": "",
			},
		},
		{
			name: "not let in", target: accountsOf,
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}/accounts", "status": 401., "code": "UNAUTHENTICATED",
				"client": "", "aspsp_id": "", "provider": "", "cache": "",
			},
		},
		{
			name: "of three slots one given back", target: accountsOf, headers: []header{apiKey, consent}, attended: &no,
			during: func(ctx context.Context) {
				event.AddSlots(ctx, 3)
				event.AddSlots(context.WithoutCancel(ctx), -1)
				event.AddWait(ctx, time.Second)
				event.AddWait(context.WithoutCancel(ctx), 200*time.Millisecond)
			},
			waited: 1200 * time.Millisecond,
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}/accounts", "status": 200., "code": "", "client": "all",
				"aspsp_id": bank, "provider": "mastercard", "attended": false, "cache": "miss",
			},
			slots: 2,
		},
		{
			name: "forgotten", method: http.MethodDelete, target: cachedOf, headers: []header{apiKey, consent},
			want: map[string]any{
				"level": "INFO", "route": "/v1/aspsps/{aspspId}/cached-data", "status": 204., "code": "", "client": "all",
				"aspsp_id": bank, "provider": "mastercard", "cache": "",
			},
		},
		{
			name: "nowhere", method: "MARIA", target: "/maria",
			want: map[string]any{
				"level": "INFO", "method": "OTHER", "route": "", "status": 404., "code": "NOT_FOUND", "client": "",
				"aspsp_id": "", "provider": "", "cache": "",
			},
		},
		{
			name: "a fault of ours", target: accountsOf, headers: []header{apiKey, consent, attended}, attended: &yes,
			err: canonical.NewError(canonical.InternalError, "it is so"),
			want: map[string]any{
				"level": "ERROR", "route": "/v1/aspsps/{aspspId}/accounts", "status": 500., "code": "INTERNAL_ERROR", "client": "all",
				"aspsp_id": bank, "provider": "mastercard", "attended": true, "cache": "miss", "cause": "INTERNAL_ERROR from gateway: it is so",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method := http.MethodGet
			if tt.method != "" {
				method = tt.method
			}
			f, o := good(), &observer{}
			f.err, f.during = tt.err, tt.during
			clock := time.Unix(0, 0)
			s := open(t, f, func(c *api.Config) {
				c.Observer = o
				c.Now = func() time.Time { clock = clock.Add(1500 * time.Millisecond); return clock }
			})
			got := s.do(t, method, tt.target, append(tt.headers, header{"X-Request-ID", theirID}, header{"Traceparent", "t"})...)
			lines := s.lines(t)
			if len(lines) != 1 {
				t.Fatalf("%d lines", len(lines))
			}
			want := tt.want
			want["msg"], want["duration_ms"], want["request_id"] = "request", 1500., theirID
			want["slots"] = []any{0., 1., 2.}[tt.slots]
			if want["method"] == nil {
				want["method"] = method
			}
			delete(lines[0], "time")
			logged := map[string]any{}
			for key, value := range want {
				if value != "" { // empty texts are left out
					logged[key] = value
				}
			}
			if logged["client"] != nil {
				logged["identified_by"] = "api_key"
			}
			if diff := cmp.Diff(logged, lines[0]); diff != "" {
				t.Error(diff)
			}
			wanted := event.Request{
				Route: want["route"].(string), Method: want["method"].(string), Status: got.status, Code: got.problem().Code,
				ASPSP: want["aspsp_id"].(string), Provider: want["provider"].(string), Client: want["client"].(string),
				Cache: want["cache"].(string), Attended: tt.attended, Duration: 1500 * time.Millisecond,
				Waited: tt.waited, Slots: tt.slots, Read: tt.attended != nil && !strings.HasSuffix(tt.target, "/unattended-access"),
			}
			forTheRecord := cmpopts.IgnoreFields(event.Request{}, "Start", "RequestID", "Cause", "IdentifiedBy", "RequestedASPSP", "Consent", "AuditReserved")
			if diff := cmp.Diff(wanted, o.outcome(t), forTheRecord); diff != "" {
				t.Error(diff)
			}
			if o.method != method || o.traced != "t" {
				t.Errorf("the observer got %q, %q", o.method, o.traced)
			}
		})
	}
}

func TestContextIsTheObservers(t *testing.T) {
	f, seen := good(), false
	f.during = func(ctx context.Context) { seen = ctx.Value(marked{}) != nil }
	s := open(t, f, func(c *api.Config) { c.Observer = &observer{} })
	s.do(t, http.MethodGet, accountsOf, apiKey, consent)
	if !seen {
		t.Error("the gateway was given another context")
	}
}

func TestPanics(t *testing.T) {
	var zero *fake
	for name, cause := range map[string]func(context.Context){
		"with a text":     func(context.Context) { panic("Maria") },
		"with an error":   func(context.Context) { panic(context.Canceled) },
		"of the runtime":  func(context.Context) { _ = zero.list },
		"with a map":      func(context.Context) { panic(map[string]string{"Maria": "Maria"}) },
		"with the kind":   func(context.Context) { panic(canonical.NewError(canonical.NotCached, "")) },
		"with what it is": func(context.Context) { panic(canonical.Query{Consent: "Maria"}) },
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			f.during = cause
			s := open(t, f)
			got := s.do(t, http.MethodGet, balancesOf("Maria"), apiKey, consent, header{"TPP-Customer-ID", "Maria"})
			if got.status != http.StatusInternalServerError || got.problem().Code != "INTERNAL_ERROR" {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			lines := s.lines(t)
			if len(lines) != 2 || lines[0]["msg"] != "panic" || lines[0]["level"] != "ERROR" || lines[1]["cause"] != "panic" {
				t.Fatalf("logged %v", lines)
			}
			if stack, _ := lines[0]["stack"].(string); !strings.Contains(stack, "instrument_test.go") {
				t.Error("the stack does not show where")
			}
			if strings.Contains(s.log.String()+got.body, "Maria") {
				t.Errorf("a value came out: %s %s", s.log, got.body)
			}
		})
	}
}

func TestAbortedAnswer(t *testing.T) {
	f := good()
	f.during = func(context.Context) { panic(http.ErrAbortHandler) }
	s := open(t, f)
	r, err := http.NewRequest(http.MethodGet, s.url+accountsOf, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(apiKey.name, apiKey.value)
	r.Header.Set(consent.name, consent.value)
	if response, err := http.DefaultClient.Do(r); err == nil {
		response.Body.Close()
		t.Errorf("answered %d", response.StatusCode)
	}
	if line := s.lines(t)[0]; line["status"] != 0. {
		t.Errorf("logged %v", line)
	}
}

func TestCallerGoesAway(t *testing.T) {
	for name, err := range map[string]error{"canonical": canonical.NewError(canonical.Canceled, ""), "bare": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(context.Background())
			f := good()
			f.err = err
			f.during = func(ctx context.Context) { leave(); <-ctx.Done() }
			s := open(t, f)
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+accountsOf, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(apiKey.name, apiKey.value)
			r.Header.Set(consent.name, consent.value)
			if response, err := http.DefaultClient.Do(r); err == nil {
				response.Body.Close()
				t.Errorf("answered %d", response.StatusCode)
			}
			line := s.lines(t)[0]
			if line["status"] != 499. || line["code"] != "CANCELED" || line["level"] != "INFO" {
				t.Errorf("logged %v", line)
			}
		})
	}
}
