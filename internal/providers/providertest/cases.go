package providertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/providertest/faultproxy"
)

func testAccounts(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	all, err := r.Accounts(t.Context(), r.attended())
	if err != nil || len(all) < 2 {
		t.Fatalf("%d accounts, %v", len(all), err)
	}
	checkAccounts(t, all)
	if !slices.ContainsFunc(all, func(a canonical.Account) bool { return a.ID == s.Account }) {
		t.Error("the harness's account is missing")
	}
}

// checkAccounts checks what every account list must fulfil.
func checkAccounts(t *testing.T, all []canonical.Account) {
	t.Helper()
	ids := map[string]bool{}
	for _, a := range all {
		if n := utf8.RuneCountInString(a.ID); n < 1 || n > 256 || ids[a.ID] {
			t.Errorf("account id of %d characters, seen before: %t", n, ids[a.ID])
		}
		ids[a.ID] = true
		if a.Type == "" || a.Currency != "" && !canonical.ValidCurrency(a.Currency) {
			t.Errorf("type %q, currency %q", a.Type, a.Currency)
		}
		if i := a.Identification; (i.Scheme == "") != (i.Value == "") ||
			i.Scheme == canonical.SchemeIBAN && canonical.NewIdentification(canonical.SchemeIBAN, i.Value) != i {
			t.Errorf("identification of scheme %q", i.Scheme)
		}
	}
}

func testBalances(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	got, err := r.Balances(t.Context(), r.attended(), s.Account)
	if err != nil || len(got.Balances) < 2 {
		t.Fatalf("%d balances, %v", len(got.Balances), err)
	}
	debits := 0
	for _, b := range got.Balances {
		if b.Type == "" || !canonical.ValidCurrency(b.Amount.Currency()) {
			t.Errorf("type %q, currency %q", b.Type, b.Amount.Currency())
		}
		if strings.HasPrefix(b.Amount.Value(), "-") != (b.Amount.Indicator() == canonical.Debit) {
			t.Errorf("%s is %s", b.Amount.Value(), b.Amount.Indicator())
		}
		if b.Amount.Indicator() == canonical.Debit {
			debits++
		}
	}
	if debits == 0 {
		t.Error("no debit among them")
	}
}

// testCapabilities checks that a read of several accounts in one call returns what the single reads
// return, and that only ASPSPs have a capability whose options say so.
func testCapabilities(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	can := providers.CapabilitiesOf(r.Provider, s.Query.ASPSP)
	if other := providers.CapabilitiesOf(r.Provider, uuid.NewString()); other != (providers.Capabilities{}) {
		t.Errorf("an ASPSP that is not configured has capabilities: %+v", other)
	}
	listed, err := r.Accounts(t.Context(), r.attended())
	if err != nil {
		t.Fatal(err)
	}
	single, err := r.Balances(t.Context(), r.attended(), s.Account)
	if err != nil {
		t.Fatal(err)
	}
	if can.ListWithBalances {
		calls := len(r.log.Calls())
		all, err := r.Provider.(providers.ListerWithBalances).AccountsWithBalances(t.Context(), r.attended())
		if err != nil {
			t.Fatal(err)
		}
		var accounts []canonical.Account
		for _, a := range all {
			accounts = append(accounts, a.Account)
			if a.Account.ID == s.Account && !equalBalances(a.Balances, single.Balances) {
				t.Errorf("with the list: %v, alone: %v", a.Balances, single.Balances)
			}
		}
		if diff := cmp.Diff(listed, accounts); diff != "" {
			t.Errorf("accounts without and with balances (-want +got):\n%s", diff)
		}
		checkOneCall(t, r, calls)
	}
	if can.AllBalances {
		calls := len(r.log.Calls())
		all, err := r.Provider.(providers.AllBalancesReader).AllBalances(t.Context(), r.attended())
		if err != nil {
			t.Fatal(err)
		}
		if got := all[s.Account].Balances; !equalBalances(got, single.Balances) {
			t.Errorf("with all balances: %v, alone: %v", got, single.Balances)
		}
		for _, a := range listed {
			if len(all[a.ID].Balances) == 0 {
				t.Errorf("an account of the list has no balances")
			}
		}
		checkOneCall(t, r, calls)
	}
}

// equalBalances compares balances by their JSON.
func equalBalances(a, b []canonical.Balance) bool {
	first, err1 := canonical.Encode(a)
	second, err2 := canonical.Encode(b)
	return err1 == nil && err2 == nil && len(a) > 0 && string(first) == string(second)
}

// checkOneCall checks that one call was made since the ASPSP had received before calls.
func checkOneCall(t *testing.T, r *environment, before int) {
	t.Helper()
	if n := len(r.log.Calls()) - before; n != 1 {
		t.Errorf("%d calls were made, want 1", n)
	}
}

func testExample(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	q := r.attended()
	r.proxy.Mutate(func(http.Header, []byte) []byte {
		return []byte(strings.ReplaceAll(s.Example.Body, "{requestId}", q.RequestID))
	})
	sheet, err := r.Balances(t.Context(), q, s.Account)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range sheet.Balances {
		got = append(got, fmt.Sprintf("%s %s %s %s", b.Type, b.Amount.Value(), b.Amount.Currency(), b.Amount.Indicator()))
	}
	if diff := cmp.Diff(s.Example.Want, got); diff != "" {
		t.Error(diff)
	}
}

// testPages checks that the list is complete or fails, and that each page is one counted call.
func testPages(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	q := r.attendedBy(s.ManyAccounts)
	all, err := r.Accounts(t.Context(), q)
	if err != nil || len(all) != s.ManyCount {
		t.Fatalf("%d accounts, %v, want %d", len(all), err, s.ManyCount)
	}
	checkAccounts(t, all)
	pages := len(r.log.Calls())
	q.PSU = nil
	all, err = r.Accounts(t.Context(), q)
	if err != nil || len(all) != s.ManyCount {
		t.Fatalf("unattended: %d accounts, %v", len(all), err)
	}
	if used := r.used(t, q); used != pages || len(r.log.Calls()) != 2*pages {
		t.Errorf("%d pages, %d counted", pages, used)
	}
	all, err = r.Accounts(t.Context(), q)
	if left := 4 - pages; left < pages {
		checkFailure(t, canonical.UnattendedLimit, q, len(all), err)
		if got := len(r.log.Calls()); got != 2*pages+left {
			t.Errorf("%d calls reached the ASPSP, want %d", got, 2*pages+left)
		}
	}
}

func testCounting(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		before, used := len(r.log.Calls()), r.used(t, s.Query)
		for _, q := range []canonical.Query{r.unattended(), r.attended()} {
			if _, err := read(q); err != nil {
				t.Fatal(err)
			}
		}
		calls := r.log.Calls()[before:]
		if len(calls) != 2 || calls[0].Attended || !calls[1].Attended {
			t.Errorf("the ASPSP saw %+v, want one unattended and one attended call", calls)
		}
		if now := r.used(t, s.Query); now != used+1 {
			t.Errorf("%d calls were counted, want 1", now-used)
		}
	})
}

func testLimit(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for i := range 4 {
		var err error
		if i%2 == 0 {
			_, err = r.Accounts(t.Context(), r.unattended())
		} else {
			_, err = r.Balances(t.Context(), r.unattended(), s.Account)
		}
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	reads := 0
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		reads++
		size, err := read(r.unattended())
		if f := checkFailure(t, canonical.UnattendedLimit, s.Query, size, err); f.Origin != canonical.OriginGateway || f.RetryAfter <= 0 {
			t.Errorf("origin %s, retry after %v", f.Origin, f.RetryAfter)
		}
		if _, err := read(r.attended()); err != nil {
			t.Errorf("attended: %v", err)
		}
	})
	if calls := r.log.Calls(); len(calls) != 4+reads || len(r.log.Breaches()) != 0 {
		t.Errorf("%d calls reached the ASPSP, %d too many", len(calls), len(r.log.Breaches()))
	}
}

func testRefusals(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for kind, consent := range s.Refusals {
		t.Run(string(kind), func(t *testing.T) {
			forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
				q := r.attendedBy(consent)
				size, err := read(q)
				f := checkFailure(t, kind, q, size, err)
				if f.Upstream == nil || f.Upstream.HTTPStatus == 0 || f.Origin == canonical.OriginGateway {
					t.Errorf("origin %s, upstream %+v", f.Origin, f.Upstream)
				}
			})
		})
	}
}

// testBlock checks that the unit is blocked when the ASPSP reports that its limit is used up,
// unless the call was attended.
func testBlock(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	q := r.attendedBy(s.Refusals[canonical.UnattendedLimit])
	for _, tt := range []struct {
		attended, waits bool
		origin          canonical.Origin
	}{{true, false, canonical.OriginASPSP}, {false, true, canonical.OriginASPSP}, {false, true, canonical.OriginGateway}} {
		if !tt.attended {
			q.PSU = nil
		}
		all, err := r.Accounts(t.Context(), q)
		f := checkFailure(t, canonical.UnattendedLimit, q, len(all), err)
		if f.Origin != tt.origin || f.Attended != tt.attended || (f.RetryAfter > 0) != tt.waits {
			t.Errorf("attended %t: origin %s, want %s; retry after %v", tt.attended, f.Origin, tt.origin, f.RetryAfter)
		}
	}
	if used := r.used(t, q); used != 1 {
		t.Errorf("%d calls were counted, want 1", used)
	}
}

func testHostileAccounts(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for _, id := range s.HostileAccounts {
		got, err := r.Balances(t.Context(), r.attended(), id)
		if err != nil || len(got.Balances) == 0 {
			t.Errorf("%q: %d balances, %v", id, len(got.Balances), err)
			continue
		}
		calls := r.log.Calls()
		if last := calls[len(calls)-1]; last.Account != id {
			t.Errorf("%q reached the provider as %q", id, last.Account)
		}
	}
}

func testMutations(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	can := providers.CapabilitiesOf(r.Provider, s.Query.ASPSP)
	for name, m := range s.AccountsMutations {
		t.Run("accounts "+name, func(t *testing.T) {
			r.proxy.Mutate(m)
			q := r.attended()
			all, err := r.Accounts(t.Context(), q)
			checkFailure(t, canonical.ProviderInvalidResponse, q, len(all), err)
			if can.ListWithBalances {
				all, err := r.Provider.(providers.ListerWithBalances).AccountsWithBalances(t.Context(), q)
				checkFailure(t, canonical.ProviderInvalidResponse, q, len(all), err)
			}
		})
	}
	for name, m := range s.BalancesMutations {
		t.Run("balances "+name, func(t *testing.T) {
			r.proxy.Mutate(m)
			q := r.attended()
			got, err := r.Balances(t.Context(), q, s.Account)
			checkFailure(t, canonical.ProviderInvalidResponse, q, len(got.Balances), err)
			if can.AllBalances && name != "foreign account" { // all accounts are read
				all, err := r.Provider.(providers.AllBalancesReader).AllBalances(t.Context(), q)
				checkFailure(t, canonical.ProviderInvalidResponse, q, len(all), err)
			}
		})
	}
}

// unreadableBodies make a valid response invalid.
var unreadableBodies = map[string]Mutation{
	"cut off":       func(_ http.Header, b []byte) []byte { return b[:len(b)/2] },
	"two documents": func(_ http.Header, b []byte) []byte { return append(b, b...) },
	"not UTF-8":     func(_ http.Header, b []byte) []byte { return append(b[:len(b)-1], ",\"x\":\"\xff\"}"...) },
	"too large":     func(_ http.Header, b []byte) []byte { return append(b, strings.Repeat(" ", 5<<20)...) },
	"brotli":        faultproxy.ContentCoding("br"),
	"deflate":       faultproxy.ContentCoding("deflate"),
	"zstd":          faultproxy.ContentCoding("zstd"),
	"gzip twice": func(h http.Header, b []byte) []byte {
		b = faultproxy.Gzipped(h, faultproxy.Gzipped(h, b))
		h.Set("Content-Encoding", "gzip, gzip")
		return b
	},
	"no gzip":       faultproxy.ContentCoding("gzip"),
	"gzip cut off":  func(h http.Header, b []byte) []byte { b = faultproxy.Gzipped(h, b); return b[:len(b)-9] },
	"gzip and more": func(h http.Header, b []byte) []byte { return append(faultproxy.Gzipped(h, b), "more"...) },
	"a gzip bomb": func(h http.Header, b []byte) []byte {
		return faultproxy.Gzipped(h, append(b, strings.Repeat(" ", 8<<20)...))
	},
	"trailing text": func(_ http.Header, b []byte) []byte { return append(b, "x"...) },
	"too deep": func(_ http.Header, b []byte) []byte {
		return withUnknownMember(b, strings.Repeat("[", 40)+strings.Repeat("]", 40))
	},
	"too many": func(_ http.Header, b []byte) []byte {
		return withUnknownMember(b, "["+strings.Repeat("0,", 10_000)+"0]")
	},
	"a mark before": func(_ http.Header, b []byte) []byte { return append([]byte("\ufeff"), b...) },
	"another charset": func(h http.Header, b []byte) []byte {
		h.Set("Content-Type", "application/json; charset=windows-1251")
		return b
	},
}

func testBrokenAnswers(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for name, answer := range map[string]struct {
		status int
		body   string
		want   canonical.Kind
	}{
		"nothing":            {200, "", canonical.ProviderInvalidResponse},
		"a page for people":  {200, "<html><body>Welcome</body></html>", canonical.ProviderInvalidResponse},
		"empty object":       {200, "{}", canonical.ProviderInvalidResponse},
		"null":               {200, "null", canonical.ProviderInvalidResponse},
		"a list":             {200, "[]", canonical.ProviderInvalidResponse},
		"no content":         {204, "", canonical.ProviderInvalidResponse},
		"redirect":           {302, "", canonical.ProviderInvalidResponse},
		"500 for people":     {500, "<html>", canonical.ProviderError},
		"503 without a word": {503, "", canonical.ProviderUnavailable},
		"504 without a word": {504, "", canonical.ProviderTimeout},
		"429 without a word": {429, "", canonical.ProviderThrottled},
	} {
		t.Run(name, func(t *testing.T) {
			forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
				r.proxy.HandleWith(func(w http.ResponseWriter, _ *http.Request) {
					if answer.status == 302 {
						w.Header().Set("Location", "/elsewhere")
					}
					w.WriteHeader(answer.status)
					if answer.status != 204 {
						_, _ = w.Write([]byte(answer.body))
					}
				})
				q := r.attended()
				size, err := read(q)
				checkFailure(t, answer.want, q, size, err)
				if r.proxy.Count() != 1 {
					t.Errorf("%d requests arrived", r.proxy.Count())
				}
			})
		})
	}
	for name, m := range unreadableBodies {
		t.Run(name, func(t *testing.T) {
			forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
				r.proxy.Mutate(m)
				q := r.attended()
				size, err := read(q)
				checkFailure(t, canonical.ProviderInvalidResponse, q, size, err)
			})
		})
	}
}

// testUnreadableRefusals checks that an error response with an unreadable body is classified by its
// status, and never as an error of the consent, the token or the account, which would delete lists.
func testUnreadableRefusals(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	q := r.attendedBy(s.Refusals[canonical.ConsentExpired])
	for name, spoil := range map[string]Mutation{
		"brotli":       faultproxy.ContentCoding("br"),
		"gzip cut off": func(h http.Header, b []byte) []byte { b = faultproxy.Gzipped(h, b); return b[:len(b)-9] },
		"no gzip":      faultproxy.ContentCoding("gzip"),
		"too large":    func(_ http.Header, b []byte) []byte { return append(b, strings.Repeat(" ", 1<<20)...) },
		"gzip bomb": func(h http.Header, b []byte) []byte {
			return faultproxy.Gzipped(h, append(b, strings.Repeat(" ", 1<<20)...))
		},
		"UTF-16": func(_ http.Header, b []byte) []byte {
			return []byte("\xff\xfe" + strings.Join(strings.Split(string(b), ""), "\x00") + "\x00")
		},
		"shorter than it says": nil,
	} {
		for status, want := range map[int]canonical.Kind{
			400: canonical.ProviderRejected, 401: canonical.ProviderRejected, 403: canonical.ProviderRejected, 404: canonical.ProviderRejected,
			408: canonical.ProviderError, 421: canonical.ProviderError, 425: canonical.ProviderError, 429: canonical.ProviderThrottled,
			500: canonical.ProviderError, 503: canonical.ProviderUnavailable, 504: canonical.ProviderTimeout,
		} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
					r.proxy.Rewrite(func(h http.Header, code *int, body []byte) []byte {
						*code = status
						h.Set("Retry-After", "7")
						if spoil == nil {
							h.Set("Content-Length", "5000")
							return body
						}
						return spoil(h, body)
					})
					size, err := read(q)
					f := checkFailure(t, want, q, size, err)
					if f.TokenRejected || f.Upstream == nil || f.Upstream.HTTPStatus != status {
						t.Errorf("token rejected %t, upstream %+v", f.TokenRejected, f.Upstream)
					}
					if waits := status == 408 || status == 421 || status == 425 || status >= 429; waits != (f.RetryAfter == 7*time.Second) {
						t.Errorf("retry after %v", f.RetryAfter)
					}
				})
			})
		}
	}
}

// testCompressedRefusals checks that compressed error responses are read.
func testCompressedRefusals(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for kind, consent := range s.Refusals {
		for _, coding := range []string{"gzip", "x-gzip"} {
			t.Run(fmt.Sprint(kind, " ", coding), func(t *testing.T) {
				r.proxy.Mutate(func(h http.Header, b []byte) []byte {
					b = faultproxy.Gzipped(h, b)
					h.Set("Content-Encoding", coding)
					return b
				})
				q := r.attendedBy(consent)
				all, err := r.Accounts(t.Context(), q)
				checkFailure(t, kind, q, len(all), err)
			})
		}
	}
}

// withUnknownMember adds a member to a valid response that adapters ignore.
func withUnknownMember(body []byte, value string) []byte {
	return append([]byte(`{"unread":`+value+","), body[1:]...)
}

// harmlessValues are values of an ignored member.
var harmlessValues = map[string]string{
	"half a character": `"\ud83d"`, "an object": `{"a":[{"b":null}]}`, "a long name": `{"` + strings.Repeat("x", 1000) + `":1}`,
	"a number": `1e999`, "nothing": `null`,
}

// testHarmlessParts checks that ignored parts do not invalidate a response.
func testHarmlessParts(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for name, value := range harmlessValues {
		t.Run(name, func(t *testing.T) {
			forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
				r.proxy.Mutate(func(_ http.Header, b []byte) []byte { return withUnknownMember(b, value) })
				if size, err := read(r.attended()); err != nil || size == 0 {
					t.Errorf("%d records, %v", size, err)
				}
			})
		})
	}
}

// testCareless checks that unusual but unambiguous responses are accepted.
func testCareless(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	for name, header := range map[string][2]string{
		"JSON as text":           {"Content-Type", "text/plain"},
		"JSON as a page":         {"Content-Type", "text/html; charset=UTF-8"},
		"no type":                {"Content-Type", ""},
		"parameters of the type": {"Content-Type", `application/json;profile="x"; Charset="utf-8"; v=1`},
		"encoded as nothing":     {"Content-Encoding", "identity"},
		"a header of nonsense":   {"Retry-After", "\xff"},
		"a charset without name": {"Content-Type", "application/json; charset="},
		"gzip":                   {"Content-Encoding", "gzip"},
		"x-gzip":                 {"Content-Encoding", "X-GZIP"},
		"gzip and nothing":       {"Content-Encoding", "identity, gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
				r.proxy.Mutate(func(h http.Header, body []byte) []byte {
					body = append([]byte("\r\n\t "), body...)
					if strings.Contains(strings.ToLower(header[1]), "gzip") {
						body = faultproxy.Gzipped(h, body)
					}
					h.Set(header[0], header[1])
					return body
				})
				if size, err := read(r.attended()); err != nil || size == 0 {
					t.Errorf("%d records, %v", size, err)
				}
			})
		})
	}
}

// testSlow checks that the timeout applies to a read as a whole, all its pages together.
func testSlow(t *testing.T, s Harness) {
	r := newEnvironmentWithTimeout(t, s, shortTimeout)
	r.proxy.HandleWith(faultproxy.Delayed(r.proxy.Next, timeout))
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		q := r.attended()
		size, err := read(q)
		checkFailure(t, canonical.ProviderTimeout, q, size, err)
	})
	r.proxy.HandleWith(faultproxy.Delayed(r.proxy.Next, shortTimeout*2/3))
	q := r.attendedBy(s.ManyAccounts)
	all, err := r.Accounts(t.Context(), q)
	if r.proxy.Count() > 1 {
		checkFailure(t, canonical.ProviderTimeout, q, len(all), err)
	}
}

// testLost checks that a lost unattended call is reported, stays counted, and is not repeated.
func testLost(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		r.proxy.HandleWith(faultproxy.HangUp)
		q, used := r.unattended(), r.used(t, s.Query)
		size, err := read(q)
		checkFailure(t, canonical.ProviderError, q, size, err)
		if r.proxy.Count() != 1 || r.used(t, q) != used+1 {
			t.Errorf("%d arrived, %d counted, want 1 and 1", r.proxy.Count(), r.used(t, q)-used)
		}
	})
}

func testUnreachable(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	gone := httptest.NewServer(nil)
	gone.Close()
	r.open(t, gone.URL)
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		q := r.unattended()
		size, err := read(q)
		checkFailure(t, canonical.ProviderUnavailable, q, size, err)
		if used := r.used(t, q); used != 0 {
			t.Errorf("%d calls that never left were counted", used)
		}
	})
}

func testConcurrency(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	want, err := r.Accounts(t.Context(), r.attended())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if i%2 == 0 {
				got, err := r.Accounts(t.Context(), r.attended())
				if err != nil || !cmp.Equal(want, got) {
					t.Errorf("accounts: %v", err)
				}
				return
			}
			if got, err := r.Balances(t.Context(), r.attended(), s.Account); err != nil || len(got.Balances) < 2 {
				t.Errorf("balances: %v", err)
			}
		})
	}
	wg.Wait()
}

func testRequestID(t *testing.T, s Harness) {
	r := newEnvironment(t, s)
	forEachRead(t, r, func(t *testing.T, read func(canonical.Query) (int, error)) {
		q := r.attended()
		q.RequestID = strings.ToUpper(uuid.NewString())
		if _, err := read(q); err != nil {
			t.Errorf("an id in capitals, which the simulator echoes as it came: %v", err)
		}
	})
}
