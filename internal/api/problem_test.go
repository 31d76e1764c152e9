package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
)

// problemTable has the status and action of each kind, as docs/api.md has them.
var problemTable = map[canonical.Kind]struct {
	status int
	action string
}{
	canonical.FormatError:             {400, "fix_request"},
	canonical.PSUAddressRequired:      {400, "retry_attended"},
	canonical.Unauthenticated:         {401, "authenticate"},
	canonical.Forbidden:               {403, "contact_support"},
	canonical.ConsentExpired:          {403, "renew_consent"},
	canonical.ConsentInvalid:          {403, "renew_consent"},
	canonical.ASPSPUnknown:            {404, "fix_request"},
	canonical.NotFound:                {404, "fix_request"},
	canonical.AccountUnknown:          {404, "refresh_accounts"},
	canonical.MethodNotAllowed:        {405, "fix_request"},
	canonical.RateLimited:             {429, "retry_later"},
	canonical.UnattendedLimit:         {429, "retry_attended"},
	canonical.ProviderThrottled:       {429, "retry_later"},
	canonical.InternalError:           {500, "contact_support"},
	canonical.ProviderRejected:        {502, "contact_support"},
	canonical.ProviderInvalidResponse: {502, "contact_support"},
	canonical.ProviderError:           {502, "retry_later"},
	canonical.ProviderUnavailable:     {503, "retry_later"},
	canonical.CounterUnavailable:      {503, "retry_attended"},
	canonical.Overloaded:              {503, "retry_later"},
	canonical.DeletionUnconfirmed:     {503, "retry_later"},
	canonical.NotCached:               {504, "fix_request"},
	canonical.NotInTime:               {504, "retry_later"},
	canonical.ProviderTimeout:         {504, "retry_later"},
}

// elsewhere lists kinds that the gateway does not return; other tests check their responses.
var elsewhere = map[canonical.Kind]bool{
	canonical.NotFound: true, canonical.MethodNotAllowed: true, canonical.NotInTime: true, canonical.AggregationFailed: true,
}

// waits has the Retry-After of an error with RetryAfter 8001 ms, for the kinds that have the
// header.
var waits = map[canonical.Kind]string{
	canonical.UnattendedLimit: "9", canonical.ProviderThrottled: "9", canonical.ProviderError: "9", canonical.ProviderTimeout: "9",
	canonical.ProviderUnavailable: "9", canonical.RateLimited: "9", canonical.Overloaded: "9",
	canonical.DeletionUnconfirmed: "1", canonical.CounterUnavailable: "5",
}

func TestProblemOfEveryKind(t *testing.T) {
	titles := map[string]bool{}
	for _, k := range kinds(t) {
		if k == canonical.Canceled || elsewhere[k] {
			continue
		}
		t.Run(string(k), func(t *testing.T) {
			s := open(t, good())
			s.gateway.err = &canonical.Error{
				Kind: k, Origin: canonical.OriginASPSP, RetryAfter: 8001 * time.Millisecond, Detail: "it is so",
				Faults:   []canonical.FieldError{{In: "path", Name: "accountId", Detail: "is odd"}},
				Upstream: canonical.NewUpstreamError(400, "OBC", "PROVIDER_ERROR"),
			}
			method, target := http.MethodGet, accountsOf
			if k == canonical.DeletionUnconfirmed {
				method, target = http.MethodDelete, cachedOf
			}
			headers := []header{apiKey, consent, {"X-Request-ID", theirID}}
			if k != canonical.UnattendedLimit {
				headers = append(headers, attended)
			}
			got := s.do(t, method, target, headers...)
			p := got.problem()
			want, known := problemTable[k]
			if !known {
				t.Fatalf("problemTable has no row for %s: add it here, and one in docs/api.md", k)
			}
			if got.status != want.status || p.Status != want.status || p.Action != want.action || p.Code != string(k) {
				t.Errorf("answered %d %+v, want %+v", got.status, p, want)
			}
			if p.Type != "/problems/"+strings.ReplaceAll(strings.ToLower(string(k)), "_", "-") || p.Origin != "aspsp" {
				t.Errorf("type %q, origin %q", p.Type, p.Origin)
			}
			if p.Retryable != strings.HasPrefix(want.action, "retry_") {
				t.Errorf("retryable is %v with %s", p.Retryable, want.action)
			}
			if p.RequestID != theirID || got.header.Get("X-Request-ID") != theirID || p.ASPSPID != bank || p.Provider != "mastercard" {
				t.Errorf("it belongs to %q, %q, %q", p.RequestID, p.ASPSPID, p.Provider)
			}
			if diff := cmp.Diff([]string{"path accountId"}, p.named()); diff != "" {
				t.Error(diff)
			}
			if p.ProviderError == nil || *p.ProviderError != (struct {
				HTTPStatus         int
				Source, ReasonCode string
			}{400, "OBC", "PROVIDER_ERROR"}) {
				t.Errorf("providerError is %+v", p.ProviderError)
			}
			if shows := strings.Contains(p.Title+strings.ToLower(p.Detail), "it is so"); titles[p.Title] || shows != (k == canonical.Overloaded || k == canonical.NotCached) {
				t.Errorf("title %q, detail %q", p.Title, p.Detail)
			}
			titles[p.Title] = true
			wait := waits[k]
			if seconds, _ := strconv.Atoi(wait); got.header.Get("Retry-After") != wait || p.RetryAfterSeconds != seconds {
				t.Errorf("Retry-After %q, retryAfterSeconds %d, want %q", got.header.Get("Retry-After"), p.RetryAfterSeconds, wait)
			}
			if line := s.lines(t)[0]; !strings.HasSuffix(fmt.Sprint(line["cause"]), "it is so") {
				t.Errorf("logged as %v", line)
			}
			if got.header.Get("Cache-Status") != "" || got.header.Get("Age") != "" {
				t.Errorf("a failure tells of the cache: %v", got.header)
			}
		})
	}
}

// TestAttendedLimit checks the action if the bank refused an attended call: the user's presence
// does not help.
func TestAttendedLimit(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "", time.Minute: "60"} {
		s := open(t, good())
		s.gateway.err = &canonical.Error{Kind: canonical.UnattendedLimit, Origin: canonical.OriginASPSP, Attended: true, RetryAfter: wait}
		got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, attended)
		p := got.problem()
		if p.Action != "retry_later" || !p.Retryable || got.header.Get("Retry-After") != want || strings.Contains(p.Detail, "PSU-IP-Address") {
			t.Errorf("Retry-After %q, %+v", got.header.Get("Retry-After"), p)
		}
	}
}

func TestProblemIsBare(t *testing.T) {
	s := open(t, good())
	s.gateway.err = canonical.NewError(canonical.NotCached, "")
	got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, header{"X-Request-ID", theirID}, header{"Cache-Control", "only-if-cached"})
	want := `{"type":"/problems/not-cached","title":"Nothing cached","status":504,"detail":"There is no cached account ` +
		"list for this consent. Repeat without `only-if-cached`." + `","code":"NOT_CACHED",` +
		`"origin":"gateway","retryable":false,"action":"fix_request","requestId":"` + theirID + `","aspspId":"` + bank +
		`","provider":"mastercard"}` + "\n"
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
}

// TestExclusiveDirectives checks no-cache with only-if-cached: the detail must not claim that no
// list is cached.
func TestExclusiveDirectives(t *testing.T) {
	s := open(t, good())
	s.gateway.err = canonical.NewError(canonical.NotCached, "`only-if-cached` and `no-cache` exclude each other. Send one of them")
	got := s.do(t, http.MethodGet, accountsOf, apiKey, consent, header{"Cache-Control", "only-if-cached, no-cache"}).problem()
	if got.Detail != "`only-if-cached` and `no-cache` exclude each other. Send one of them." || got.Action != "fix_request" {
		t.Errorf("%+v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		kind canonical.Kind
		wait time.Duration
		want string
	}{
		{canonical.UnattendedLimit, 0, ""},
		{canonical.UnattendedLimit, time.Nanosecond, "1"},
		{canonical.UnattendedLimit, 24 * time.Hour, "86400"},
		{canonical.ProviderThrottled, 0, ""},
		{canonical.Overloaded, 0, "1"},
		{canonical.Overloaded, 3 * time.Second, "3"},
		{canonical.ProviderUnavailable, 0, "30"},
		{canonical.ProviderUnavailable, -time.Second, "30"},
		{canonical.ProviderUnavailable, 500 * time.Millisecond, "1"},
		{canonical.ProviderError, 0, ""},
		{canonical.CounterUnavailable, 0, "5"},
		{canonical.RateLimited, 1500 * time.Millisecond, "2"},
		{canonical.ProviderTimeout, 0, ""},
		{canonical.ProviderTimeout, time.Minute, "60"},
		{canonical.ProviderRejected, time.Minute, ""},
		{canonical.ConsentExpired, time.Minute, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.kind, tt.wait), func(t *testing.T) {
			s := open(t, good())
			s.gateway.err = &canonical.Error{Kind: tt.kind, Origin: canonical.OriginGateway, RetryAfter: tt.wait}
			if got := s.do(t, http.MethodGet, accountsOf, apiKey, consent).header.Get("Retry-After"); got != tt.want {
				t.Errorf("is %q, want %q", got, tt.want)
			}
		})
	}
}

// TestUnforeseenErrors checks that an error that is not canonical, or is of an unknown kind,
// becomes INTERNAL_ERROR without its text, and that Canceled is reported only if the caller has
// gone.
func TestUnforeseenErrors(t *testing.T) {
	for _, err := range []error{
		errors.New("IBAN of Maria"), fmt.Errorf("Maria: %w", context.Canceled), canonical.NewError(canonical.Canceled, ""),
		canonical.NewError("KIND_OF_A_LATER_VERSION", "Maria"),
	} {
		s := open(t, good())
		s.gateway.err = err
		got := s.do(t, http.MethodGet, balancesOf("1"), apiKey, consent)
		if got.status != http.StatusInternalServerError || got.problem().Code != "INTERNAL_ERROR" {
			t.Errorf("answered %d", got.status)
		}
		if strings.Contains(got.body+s.log.String(), "Maria") {
			t.Errorf("its text came out: %s %s", got.body, s.log)
		}
		if line := s.lines(t)[0]; line["level"] != "ERROR" || line["cause"] == "" {
			t.Errorf("logged as %v", line)
		}
	}
	s := open(t, good())
	s.gateway.err = fmt.Errorf("wrapped: %w", canonical.NewError(canonical.ProviderTimeout, ""))
	if got := s.do(t, http.MethodGet, accountsOf, apiKey, consent); got.status != http.StatusGatewayTimeout {
		t.Errorf("a wrapped error is answered %d", got.status)
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		allow          string
	}{
		{http.MethodGet, "/", 404, ""},
		{http.MethodGet, "/v1/aspsps/", 404, ""},
		{http.MethodGet, accountsOf + "/", 404, ""},
		{http.MethodGet, balancesOf("a/b"), 404, ""},
		{http.MethodGet, "/v1//aspsps", 404, ""},
		{http.MethodGet, "/V1/aspsps", 404, ""},
		{http.MethodGet, "/v1/aspsps/" + bank + "/../" + bank, 404, ""},
		{http.MethodGet, aggregations, 405, "POST"},
		{http.MethodHead, aggregations, 405, "POST"},
		{http.MethodOptions, aggregations, 405, "POST"},
		{http.MethodPost, aggregations + "/", 404, ""},
		{http.MethodPost, "/v1/aspsps", 405, "GET, HEAD"},
		{http.MethodOptions, "/v1/aspsps", 405, "GET, HEAD"},
		{http.MethodOptions, "/v1/aspsps/" + bank, 405, "GET, HEAD"},
		{http.MethodOptions, accessOf, 405, "GET, HEAD"},
		{http.MethodOptions, cachedOf, 405, "DELETE"},
		{http.MethodHead, balancesOf("1"), 405, "GET"},
		{http.MethodHead, cachedOf, 405, "DELETE"},
		{http.MethodHead, "/v1", 404, ""},
		{http.MethodHead, accountsOf, 405, "GET"},
		{http.MethodOptions, balancesOf("1"), 405, "GET"},
		{http.MethodDelete, accountsOf, 405, "GET"},
		{http.MethodGet, cachedOf, 405, "DELETE"},
		{"ODD", "/openapi.yaml", 405, "GET, HEAD"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			s := open(t, good())
			got := s.do(t, tt.method, tt.target)
			if got.status != tt.status || got.header.Get("Allow") != tt.allow {
				t.Errorf("answered %d, Allow %q", got.status, got.header.Get("Allow"))
			}
			if got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type is %q", got.header.Get("Content-Type"))
			}
			if len(s.gateway.asked) != 0 {
				t.Errorf("asked %v", s.gateway.asked)
			}
		})
	}
}

// TestTargetsWithoutPath sends targets without a path, which net/http passes on.
func TestTargetsWithoutPath(t *testing.T) {
	server := httptest.NewUnstartedServer(api.New(settings(good(), io.Discard)))
	server.Config.DisableGeneralOptionsHandler = true // else net/http answers OPTIONS * by itself
	server.Start()
	defer server.Close()
	for _, line := range []string{"OPTIONS * HTTP/1.1", "CONNECT bank.example:443 HTTP/1.1", "GET http://bank.example HTTP/1.1"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s\r\nHost: bank.example\r\n\r\n", line)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got.StatusCode != http.StatusNotFound || got.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s: answered %s", line, got.Status)
		}
	}
}
