package upstream_test

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

func words(q canonical.Query, account string, texts ...string) string {
	w := upstream.NewWording(q, providers.Request{Account: account})
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
		if got := words(alone(), "", text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := words(alone(), "", "access", "exceeded"); got != "access | exceeded |" {
		t.Errorf("two texts are %q", got)
	}
}

// TestOwnTextSaysNothing repeats what a request contained, as a bank would: no wording is found in it.
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
			q := alone()
			account := put(&q)
			got := words(q, account, "No account "+text+" was found")
			if strings.Contains(got, "limit") || strings.Contains(got, "consent is invalid") || !strings.Contains(got, "no account") {
				t.Errorf("%s, %s: %q", place, how, got)
			}
		}
	}
	// Two parts of a wording do not meet where the id was between them.
	if got := words(alone(), "x", "consent x expired"); got != "consent | expired |" {
		t.Errorf("got %q", got)
	}
	// An id that ends in words of a wording takes no such words from a text that does not repeat it.
	if got := words(alone(), "GFiTpF3:new-sca", "New SCA required"); got != "new sca required |" {
		t.Errorf("got %q", got)
	}
	w := upstream.NewWording(alone(), providers.Request{Account: "CONSENT_INVALID"})
	if !w.Own("consent_invalid") || w.Own("CONSENT_EXPIRED") || w.Own("") {
		t.Error("a code that is the account's id is not taken for it, or another one is")
	}
}

// TestWordingIsBounded counts what is read of texts that never end.
func TestWordingIsBounded(t *testing.T) {
	w := upstream.NewWording(alone(), providers.Request{})
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
		w := upstream.NewWording(alone(), providers.Request{Account: "x:y"})
		text := head + "x:y:ok"
		if got := w.End(text, "y:ok"); strings.Join(got, " ") != "| ok |" {
			t.Errorf("the end of a long %s is %q", name, got)
		}
		if got := w.Words("access exceeded"); len(got) != 1 {
			t.Errorf("after a long %s %q is read", name, got)
		}
		if text = head + "x:y"; !w.OwnEnd(text, "y") || w.OwnEnd(text, text) || w.OwnEnd(head, "a") {
			t.Errorf("a long %s: the id at its end is not seen, or another is", name)
		}
	}
}

func TestPhrases(t *testing.T) {
	p := upstream.NewPhrases([]string{"a", "a b", "b c d"}, []string{"a b c"})
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
		if diff := cmp.Diff(found, p.In(strings.Fields(text))); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestLimitOf429(t *testing.T) {
	for text, want := range map[string]upstream.Limit{
		"": upstream.NoLimit, "Something": upstream.NoLimit,
		// A rate limiter's words.
		"Too Many Requests": upstream.RateLimit,
		"The API Request Quota is exhausted; retry after 21 seconds": upstream.RateLimit,
		"RATE_LIMIT_ERROR": upstream.RateLimit,
		"How many requests may be made is restricted to a quota, which is reached": upstream.RateLimit,
		"tooManyRequests: the quota of this consumer was exceeded":                 upstream.RateLimit,
		"Quota of 5 requests per 10 seconds exceeded, try again in 3 s":            upstream.RateLimit,
		"Access quota exceeded: 100 per 1m":                                        upstream.RateLimit,
		"Access quota exceeded: 100 per 2 m":                                       upstream.RateLimit,
		"accesses per second exceeded":                                             upstream.RateLimit,
		"access limit: 10 a minute":                                                upstream.RateLimit,
		"access limit of 1000 each hour":                                           upstream.RateLimit,
		"hourly access quota":                                                      upstream.RateLimit,
		"unattended calls: 3 per second":                                           upstream.RateLimit,
		"access quota, retry in 1500ms":                                            upstream.RateLimit,
		"policies.ratelimit.QuotaViolation":                                        upstream.RateLimit,
		"access quota: 100 rpm":                                                    upstream.RateLimit,
		"accesses: 1000 RPH":                                                       upstream.RateLimit,
		"Slow down, the access limit is reached":                                   upstream.RateLimit,
		"SlowDown: quota":                                                          upstream.RateLimit,
		"The rate of access exceeded its maximum":                                  upstream.RateLimit,
		"access quota exceeded, retry after PT30S":                                 upstream.RateLimit,
		"access quota exceeded, retry after PT1M30S":                               upstream.RateLimit,
		"access quota exceeded, retry after PT0.5S":                                upstream.RateLimit,
		"access quota exceeded, retry after P0DT15M":                               upstream.RateLimit,
		"access quota exceeded, 12.30 s":                                           upstream.RateLimit,
		"access quota exceeded at 12:30, retry in 30 s":                            upstream.RateLimit,
		"Spike arrest violation, the quota is exceeded":                            upstream.RateLimit,
		"The daily quota of your subscription is used up":                          upstream.RateLimit,
		"Access quota of this API key":                                             upstream.RateLimit,
		"Quota exceeded for your plan":                                             upstream.RateLimit,
		"Daily limit of calls":                                                     upstream.RateLimit,
		// The ASPSP's limit.
		"ASPSP limit for unattended requests was exceeded": upstream.AbsentLimit,
		"Too many requests without PSU involvement":        upstream.AbsentLimit,
		"The API allows no more without the user":          upstream.AbsentLimit,
		"access_exceeded":                             upstream.AccessLimit,
		"Maximum access quota is reached!":            upstream.AccessLimit,
		"Maximum number of accesses per day exceeded": upstream.AccessLimit,
		"Number of access attempts exceeded":          upstream.AccessLimit,
		"per consent per day, limit 4":                upstream.AccessLimit,
		"more than 4 requests in 24 hours":            upstream.AccessLimit,
		"frequencyPerDay exceeded":                    upstream.AccessLimit,
		"access quota, retry in 86400 seconds":        upstream.AccessLimit,
		"Allowed only four times":                     upstream.AccessLimit,
		"Daily access limit reached, time 12:30 s":    upstream.AccessLimit,
		"access quota exceeded, retry after PT24H":    upstream.AccessLimit,
		"access quota exceeded, retry after P1D":      upstream.AccessLimit,
		"access quota exceeded, retry after P1DT30S":  upstream.AccessLimit,
		"Quota exceeded":                              upstream.QuotaLimit,
		"Daily limit exceeded":                        upstream.QuotaLimit,
	} {
		w := upstream.NewWording(alone(), providers.Request{})
		if got := upstream.LimitOf429(w.Words(text)); got != want {
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
		if got := upstream.LastSegment(text); got != want {
			t.Errorf("%q ends in %q, want %q", text, got, want)
		}
	}
}

// BenchmarkWording reads an error of the largest body there is.
func BenchmarkWording(b *testing.B) {
	text := strings.Repeat("limit of consent ", 1<<16)
	q := alone()
	for b.Loop() {
		upstream.LimitOf429(upstream.NewWording(q, providers.Request{}).Words(text))
	}
}
