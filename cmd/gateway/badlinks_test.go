package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A linkCase is a list with links to further pages, and what a read of it does.
type linkCase struct {
	name string
	// next returns the link in a page; "" for the last page. elsewhere is the address of another
	// server.
	next  func(q providerRequest, elsewhere string) string
	total int // the number of pages as the provider says; 0 if it does not say
	only  string

	attended, unattended readResult
}

// A readResult is the problem's code of a read, and the number of its calls.
type readResult struct {
	code  string
	calls int
}

// refused is the result of a read whose first page has a link that must not be followed.
var refused = readResult{invalid, 1}

// link returns a linkCase whose first page has a link that must not be followed. In text {host} is
// the address of the provider, {path} the path of the page, {elsewhere} the address of another server,
// and {token} the user's token.
func link(name, text string) linkCase {
	return linkCase{name: name, attended: refused, unattended: refused, next: func(q providerRequest, elsewhere string) string {
		return strings.NewReplacer("{host}", q.host, "{path}", q.path, "{elsewhere}", elsewhere, "{token}", q.consent,
			"{escaped token}", strings.ReplaceAll(q.consent, "-", "%2D")).Replace(text)
	}}
}

// pages returns the links of a list with a number of pages.
func pages(number int) func(q providerRequest, _ string) string {
	return func(q providerRequest, _ string) string {
		page, err := strconv.Atoi(q.page)
		if err != nil {
			page = 1
		}
		if page == number {
			return ""
		}
		return "?page=" + strconv.Itoa(page+1)
	}
}

var linkCases = []linkCase{
	link("another host", "http://other.example/v1/accounts?page=2"),
	link("another host, of another server", "http://{elsewhere}/v1/accounts?page=2"),
	link("another host, without a scheme", "//{elsewhere}/v1/accounts?page=2"),
	link("another host behind a user", "http://{host}@{elsewhere}/v1/accounts?page=2"),
	link("another host behind a backslash", `http://{host}\@{elsewhere}/v1/accounts?page=2`),
	link("another scheme", "https://{host}/v1/accounts?page=2"),
	link("another scheme, of another server", "https://{elsewhere}/v1/accounts?page=2"),
	link("no web scheme", "ftp://{host}/v1/accounts?page=2"),
	link("a script", "javascript:alert(1)"),
	link("credentials", "http://user:password@{host}/v1/accounts?page=2"),
	link("token", "?page=2&access_token={token}"),
	link("escaped token", "?page=2&access_token={escaped token}"),
	link("token in the path", "/v1/accounts/{token}?page=2"),
	link("escaped dots", "/v1/%2e%2e/admin?page=2"),
	link("too long", "?page=2&cursor="+strings.Repeat("x", 5000)),
	link("longer than a page can be", "?page=2&cursor="+strings.Repeat("x", 1_000_000)),
	link("control character", "?page=2\r\nX-A: 1"),
	link("the page itself", "{path}"),
	link("the page itself, with a fragment", "http://{host}{path}#2"),
	{
		name: "a circle", attended: readResult{invalid, 3}, unattended: readResult{invalid, 3},
		next: func(q providerRequest, _ string) string {
			return "?page=" + map[string]string{"": "2", "2": "3", "3": "2"}[q.page]
		},
	},
	{name: "three pages", next: pages(3), attended: readResult{noProblem, 3}, unattended: readResult{noProblem, 3}},
	{name: "five pages", next: pages(5), attended: readResult{noProblem, 5}, unattended: readResult{limitReached, 4}},
	{name: "10,000 pages", next: pages(10_000), attended: readResult{invalid, 200}, unattended: readResult{limitReached, 4}},
	{name: "five pages announced", only: "obie", next: pages(5), total: 5, attended: readResult{noProblem, 5}, unattended: readResult{limitReached, 1}},
	{name: "10,000 pages announced", only: "obie", next: pages(10_000), total: 10_000, attended: refused, unattended: refused},
	{name: "three pages of four", only: "obie", next: pages(3), total: 4, attended: readResult{invalid, 3}, unattended: readResult{invalid, 3}},
}

const limitReached = "UNATTENDED_LIMIT"

// respond writes a page of the case.
func (c linkCase) respond(elsewhere string) responder {
	return success(func(q providerRequest) string {
		next, _ := json.Marshal(c.next(q, elsewhere))
		member := fmt.Sprintf(`"_links":{"next":{"href":%s}}`, next)
		if q.provider == "obie" {
			member = fmt.Sprintf(`"Links":{"Next":%s},"Meta":{"TotalPages":%d}`, next, max(c.total, 1))
		}
		return q.with(member)
	})
}

// TestLinksOfProviders checks for every link to a next page that a read makes no more calls than it
// may, each a counted one if it is unattended, that no other server is called, and that a read that
// fails leaves no list.
func TestLinksOfProviders(t *testing.T) {
	t.Parallel()
	var stray atomic.Int64
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			stray.Add(1)
		}
	}
	other.Start()
	t.Cleanup(other.Close)
	elsewhere := other.Listener.Addr().String()

	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	servers := map[string]*badServer{"berlingroup": openBadServer(t, "berlingroup"), "obie": openBadServer(t, "obie")}
	api := runService(t, gatewaytest.EditConfig(t, w, func(text string) string {
		return withBaseURL(withBaseURL(text, servers["berlingroup"], time.Minute), servers["obie"], time.Minute)
	}))
	for provider, server := range servers {
		for _, c := range linkCases {
			if c.only != "" && c.only != provider {
				continue
			}
			t.Run(provider+" "+c.name, func(t *testing.T) {
				r := linkRead{server, api + "/v1/aspsps/" + aspspOf(provider), c.respond(elsewhere)}
				r.check(t, "/accounts/"+accountOf(provider)+"/balances", true, c.attended)
				r.check(t, "/accounts", true, c.attended)
				r.check(t, "/accounts", false, c.unattended)
				if n := stray.Swap(0); n != 0 {
					t.Errorf("%d connections to another server", n)
				}
			})
		}
	}
}

// A linkRead is a read from an ASPSP whose responses have links.
type linkRead struct {
	server  *badServer
	aspsp   string // URL
	respond responder
}

// check reads a path of the ASPSP under a new consent.
func (r linkRead) check(t *testing.T, path string, attended bool, want readResult) {
	t.Helper()
	consent := uuid.NewString()
	r.server.respondTo(consent, r.respond)
	header := []string{"Consent-ID", consent, "Provider-Authorization", "Bearer " + consent}
	call := header
	if attended {
		call = append(call, "PSU-IP-Address", "203.0.113.7")
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, r.aspsp+path, call...)
	var got struct{ Code string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Code != want.code || (want.code == noProblem) != (resp.StatusCode == http.StatusOK) {
		t.Errorf("%s, attended %t: answered %d %.500s, want %q", path, attended, resp.StatusCode, body, want.code)
	}
	if want.code != noProblem && strings.Contains(body, "page=") {
		t.Errorf("%s: the problem has the link: %s", path, body)
	}
	if n := r.server.calls(consent); n != want.calls {
		t.Errorf("%s, attended %t: %d calls, want %d", path, attended, n, want.calls)
	}
	used := want.calls
	if attended {
		used = 0
	}
	if _, body := gatewaytest.Call(t, http.MethodGet, r.aspsp+"/unattended-access", header...); !strings.Contains(body, fmt.Sprintf(`"used":%d,`, used)) {
		t.Errorf("%s, attended %t: %s, want %d used", path, attended, body, used)
	}
	if want.code == noProblem {
		return
	}
	if resp, body := gatewaytest.Call(t, http.MethodGet, r.aspsp+"/accounts", append(header, "Cache-Control", "only-if-cached")...); resp.StatusCode == http.StatusOK {
		t.Errorf("a part of the list is cached: %s", body)
	}
}
