package adapter_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

func words(q canonical.Query, account string, texts ...string) string {
	w := adapter.NewWording(q, providers.Request{Account: account})
	return strings.Join(w.Words(texts...), " ")
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "|",
		"Access_Exceeded: (4) times.":  "access exceeded 4 times |",
		"tooManyRequests":              "too many requests |",
		"psuIPAddress":                 "psu ip address |",
		"the user’s IP":                "the user s ip |",
		"access%20exceeded%2Fagain":    "access exceeded again |",
		`acc\u0065ss%25%32%30exceeded`: "access exceeded |",
		"limit&nbsp;of &#97;ccess":     "limit of access |",
		"100 %":                        "100 |",
		"50% off \\u12":                "50 off u12 |",
		"Квота ИСЧЕРПАНА":              "квота исчерпана |",
		"\xff\xfe":                     "|",
	} {
		if got := words(unattendedQuery(), "", text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := words(unattendedQuery(), "", "access", "exceeded"); got != "access | exceeded |" {
		t.Errorf("two texts are %q", got)
	}
}

// TestOwnTextSaysNothing checks that texts of the request that a bank repeats are ignored.
func TestOwnTextSaysNothing(t *testing.T) {
	const id = `unattended limit: "consent is invalid"/Ä`
	quoted, _ := json.Marshal(id)
	repeated := map[string]string{
		"raw":             id,
		"in lower case":   strings.ToLower(id),
		"in capitals":     strings.ToUpper(id),
		"in a path":       url.PathEscape(id),
		"in a query":      url.QueryEscape(id),
		"twice in a path": url.PathEscape(url.PathEscape(id)),
		"in JSON":         string(quoted),
		"in ASCII JSON":   `unattended limit: \u0022consent is invalid\u0022\u002f\u00c4`,
		"in HTML":         "unattended limit: &quot;consent is invalid&quot;/&Auml;",
		"glued":           "id" + id + "ok",
		"cut off":         id[:len(id)-8],
		"cut off early":   "unattended limi",
	}
	places := map[string]func(*canonical.Query) string{ // and the account
		"account":       func(*canonical.Query) string { return id },
		"consent":       func(q *canonical.Query) string { q.Consent = id; return "" },
		"request id":    func(q *canonical.Query) string { q.RequestID = id; return "" },
		"token":         func(q *canonical.Query) string { q.Token = id; return "" },
		"customer":      func(q *canonical.Query) string { q.Customer = id; return "" },
		"merchant":      func(q *canonical.Query) string { q.Merchant = &canonical.Merchant{ID: id, Name: "x"}; return "" },
		"merchant name": func(q *canonical.Query) string { q.Merchant = &canonical.Merchant{ID: "x", Name: id}; return "" },
		"user agent": func(q *canonical.Query) string {
			q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7"), UserAgent: id}
			return ""
		},
		"place": func(q *canonical.Query) string {
			q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7"), GeoLocation: id}
			return ""
		},
	}
	for place, put := range places {
		for how, text := range repeated {
			q := unattendedQuery()
			account := put(&q)
			got := words(q, account, "No account "+text+" was found")
			if strings.Contains(got, "limit") || strings.Contains(got, "consent is invalid") || !strings.Contains(got, "no account") {
				t.Errorf("%s, %s: %q", place, how, got)
			}
		}
	}
	// A phrase does not match across a removed id.
	if got := words(unattendedQuery(), "x", "consent x expired"); got != "consent | expired |" {
		t.Errorf("got %q", got)
	}
	// An id that ends in words of a phrase removes these words only from a text that repeats the
	// id.
	if got := words(unattendedQuery(), "GFiTpF3:new-sca", "New SCA required"); got != "new sca required |" {
		t.Errorf("got %q", got)
	}
	w := adapter.NewWording(unattendedQuery(), providers.Request{Account: "CONSENT_INVALID"})
	if !w.IsRequestText("consent_invalid") || w.IsRequestText("CONSENT_EXPIRED") || w.IsRequestText("") {
		t.Error("a code that is the account's id is not taken for it, or another one is")
	}
}

// TestWordingIsBounded checks the limit of the text that is searched.
func TestWordingIsBounded(t *testing.T) {
	w := adapter.NewWording(unattendedQuery(), providers.Request{})
	total := 0
	for range 100 {
		total += len(w.Words(strings.Repeat("a ", 200_000)))
	}
	if total > 8<<10+100 {
		t.Errorf("%d words are read of 100 long texts", total)
	}
	if got := w.Words("access exceeded"); len(got) != 1 {
		t.Errorf("then %q is read", got)
	}
	for name, head := range map[string]string{
		"URN": "urn:" + strings.Repeat("a:", 200_000), "path": strings.Repeat("/a", 200_000) + "/", "URL": "https://x/" + strings.Repeat("a/", 200_000),
	} {
		w := adapter.NewWording(unattendedQuery(), providers.Request{Account: "x:y"})
		text := head + "x:y:ok"
		if got := w.EndWords(text, "y:ok"); strings.Join(got, " ") != "| ok |" {
			t.Errorf("the end of a long %s is %q", name, got)
		}
		if got := w.Words("access exceeded"); len(got) != 1 {
			t.Errorf("after a long %s %q is read", name, got)
		}
		if text = head + "x:y"; !w.EndsInRequestText(text, "y") || w.EndsInRequestText(text, text) || w.EndsInRequestText(head, "a") {
			t.Errorf("a long %s: the id at its end is not seen, or another is", name)
		}
	}
}

func TestPhrases(t *testing.T) {
	p := adapter.NewPhrases([]string{"a", "a b", "b c d"}, []string{"a b c"})
	for text, want := range map[string][]string{
		"":        nil,
		"x a":     {"a"},
		"a b c":   {"a", "a b", "a b c"},
		"ab b c":  nil,
		"b c | d": nil,
		"b c d a": {"a", "b c d"},
	} {
		found := map[string]bool{}
		for _, phrase := range want {
			found[phrase] = true
		}
		if diff := cmp.Diff(found, p.Find(strings.Fields(text))); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestLimitFrom429(t *testing.T) {
	for text, want := range map[string]adapter.Limit{
		"": adapter.NoLimit, "Something": adapter.NoLimit,
		// Rate limiters.
		"Too Many Requests": adapter.RateLimit,
		"The API Request Quota is exhausted; retry after 21 seconds": adapter.RateLimit,
		"RATE_LIMIT_ERROR": adapter.RateLimit,
		"How many requests may be made is restricted to a quota, which is reached": adapter.RateLimit,
		"tooManyRequests: the quota of this consumer was exceeded":                 adapter.RateLimit,
		"Quota of 5 requests per 10 seconds exceeded, try again in 3 s":            adapter.RateLimit,
		"Access quota exceeded: 100 per 1m":                                        adapter.RateLimit,
		"Access quota exceeded: 100 per 2 m":                                       adapter.RateLimit,
		"accesses per second exceeded":                                             adapter.RateLimit,
		"access limit: 10 a minute":                                                adapter.RateLimit,
		"access limit of 1000 each hour":                                           adapter.RateLimit,
		"hourly access quota":                                                      adapter.RateLimit,
		"unattended calls: 3 per second":                                           adapter.RateLimit,
		"access quota, retry in 1500ms":                                            adapter.RateLimit,
		"policies.ratelimit.QuotaViolation":                                        adapter.RateLimit,
		"access quota: 100 rpm":                                                    adapter.RateLimit,
		"accesses: 1000 RPH":                                                       adapter.RateLimit,
		"Slow down, the access limit is reached":                                   adapter.RateLimit,
		"SlowDown: quota":                                                          adapter.RateLimit,
		"The rate of access exceeded its maximum":                                  adapter.RateLimit,
		"access quota exceeded, retry after PT30S":                                 adapter.RateLimit,
		"access quota exceeded, retry after PT1M30S":                               adapter.RateLimit,
		"access quota exceeded, retry after PT0.5S":                                adapter.RateLimit,
		"access quota exceeded, retry after P0DT15M":                               adapter.RateLimit,
		"access quota exceeded, 12.30 s":                                           adapter.RateLimit,
		"access quota exceeded at 12:30, retry in 30 s":                            adapter.RateLimit,
		"Spike arrest violation, the quota is exceeded":                            adapter.RateLimit,
		"The daily quota of your subscription is used up":                          adapter.RateLimit,
		"Access quota of this API key":                                             adapter.RateLimit,
		"Quota exceeded for your plan":                                             adapter.RateLimit,
		"Daily limit of calls":                                                     adapter.RateLimit,
		// The ASPSP's limit.
		"ASPSP limit for unattended requests was exceeded": adapter.AbsentLimit,
		"Too many requests without PSU involvement":        adapter.AbsentLimit,
		"The API allows no more without the user":          adapter.AbsentLimit,
		"access_exceeded":                             adapter.AccessLimit,
		"Maximum access quota is reached!":            adapter.AccessLimit,
		"Maximum number of accesses per day exceeded": adapter.AccessLimit,
		"Number of access attempts exceeded":          adapter.AccessLimit,
		"per consent per day, limit 4":                adapter.AccessLimit,
		"more than 4 requests in 24 hours":            adapter.AccessLimit,
		"frequencyPerDay exceeded":                    adapter.AccessLimit,
		"access quota, retry in 86400 seconds":        adapter.AccessLimit,
		"Allowed only four times":                     adapter.AccessLimit,
		"Daily access limit reached, time 12:30 s":    adapter.AccessLimit,
		"access quota exceeded, retry after PT24H":    adapter.AccessLimit,
		"access quota exceeded, retry after P1D":      adapter.AccessLimit,
		"access quota exceeded, retry after P1DT30S":  adapter.AccessLimit,
		"Quota exceeded":                              adapter.QuotaLimit,
		"Daily limit exceeded":                        adapter.QuotaLimit,
	} {
		w := adapter.NewWording(unattendedQuery(), providers.Request{})
		if got := adapter.LimitFrom429(w.Words(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestLastSegment(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"CONSENT_EXPIRED":                 "CONSENT_EXPIRED",
		"a/b":                             "a/b",
		"https://example.com/errors/X_Y":  "X_Y",
		"https://example.com/errors/X_Y/": "X_Y",
		"https://example.com/errors#X_Y":  "X_Y",
		"urn:problem-type:belgif:tooManyRequests": "tooManyRequests",
		"/headers/PSU-IP-Address":                 "PSU-IP-Address",
		"/api/v1/accounts":                        "accounts",
	} {
		if got := adapter.LastSegment(text); got != want {
			t.Errorf("%q ends in %q, want %q", text, got, want)
		}
	}
}

// BenchmarkWording reads an error response of the maximum size.
func BenchmarkWording(b *testing.B) {
	text := strings.Repeat("limit of consent ", 1<<16)
	q := unattendedQuery()
	for b.Loop() {
		adapter.LimitFrom429(adapter.NewWording(q, providers.Request{}).Words(text))
	}
}
