package parse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/parse"
	"ais-gateway/internal/canonical"
)

const (
	bank      = "4f1e2d3c-0000-4000-8000-00000000000a"
	requestID = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721"
)

// parsed returns the result of a body of an unattended request.
func parsed(body string) (aggregation.Request, []canonical.FieldError) {
	return parse.Aggregation(strings.NewReader(body), canonical.Query{}, requestID)
}

// named returns the faults of a body, each as its pointer and detail.
func named(body string) []string {
	_, faults := parsed(body)
	var all []string
	for _, f := range faults {
		all = append(all, f.In+" "+f.Name+" "+f.Detail)
	}
	return all
}

// one returns a body with one source that has also these members.
func one(members string) string {
	return `{"sources":[{"aspspId":"` + bank + `","consentId":"c"` + members + `}]}`
}

func TestAggregation(t *testing.T) {
	q := canonical.Query{
		Consent: "of a header", Token: "of a header", RequestID: requestID, Customer: "customer", PSU: &canonical.PSU{IP: netip.MustParseAddr("192.0.2.1")},
	}
	got, faults := parse.Aggregation(strings.NewReader(` {"sources": [
		{"ref": "main", "aspspId": "4F1E2D3C-0000-4000-8000-00000000000A", "consentId": "a\"Ж"},
		{"aspspId": "`+bank+`", "consentId": "b", "providerAuthorization": "bearer  t", "accountIds": ["1", "a/b"], "requestId": "`+strings.ToUpper(requestID)+`"}
	], "include": ["balances"], "require": "all", "allowPartial": true, "dryRun": true} `), q, requestID)
	if faults != nil {
		t.Fatal(faults)
	}
	of := func(consent, token, id string) canonical.Query {
		q := q
		q.ASPSP, q.Consent, q.Token, q.RequestID = bank, consent, canonical.Secret(token), id
		return q
	}
	got.Fingerprint = ""
	want := aggregation.Request{
		RequestID: requestID, Balances: true, RequireAll: true, AllowPartial: true, DryRun: true,
		Sources: []aggregation.Source{
			{Ref: "main", Query: of(`a"Ж`, "", "")},
			{Ref: "1", Query: of("b", "t", strings.ToUpper(requestID)), AccountIDs: []string{"1", "a/b"}},
		},
	}
	if id := got.Sources[0].Query.RequestID; id[14] != '5' { // a version 5 UUID
		t.Errorf("the request id is %s", id)
	}
	want.Sources[0].Query.RequestID = got.Sources[0].Query.RequestID
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, d := range []string{`{"sources":[{"aspspId":"` + bank + `","consentId":"c"}]}`, one(`,"accountIds":["1"]`)} {
		got, _ := parsed(d)
		if r := got; r.Balances || r.RequireAll || r.AllowPartial || r.DryRun || r.Sources[0].Ref != "0" {
			t.Errorf("defaults: %+v", r)
		}
	}
}

// TestRequestIDsOfSources checks that the request ids of sources are the same for the same request,
// and differ between sources and requests.
func TestRequestIDsOfSources(t *testing.T) {
	two := `{"sources":[{"aspspId":"` + bank + `","consentId":"a"},{"aspspId":"` + bank + `","consentId":"b"}]}`
	ids := func(id string) []string {
		r, _ := parse.Aggregation(strings.NewReader(two), canonical.Query{}, id)
		return []string{r.Sources[0].Query.RequestID, r.Sources[1].Query.RequestID}
	}
	first, again, other := ids(requestID), ids(strings.ToUpper(requestID)), ids(bank)
	if !slices.Equal(first, again) {
		t.Errorf("%v, then %v", first, again)
	}
	if all := slices.Sorted(slices.Values(slices.Concat(first, other))); len(slices.Compact(all)) != 4 {
		t.Errorf("%v and %v", first, other)
	}
}

func TestFaultsOfABody(t *testing.T) {
	many := func(n int, item func(i int) string) string {
		var items []string
		for i := range n {
			items = append(items, item(i))
		}
		return strings.Join(items, ",")
	}
	sources := func(n int) string {
		return `{"sources":[` + many(n, func(i int) string { return fmt.Sprintf(`{"aspspId":"%s","consentId":"c%d"}`, bank, i) }) + `]}`
	}
	ids := func(n int) string {
		return one(`,"accountIds":[` + many(n, func(i int) string { return fmt.Sprintf(`"%d"`, i) }) + `]`)
	}
	const document = "body  must be one JSON document"
	tests := []struct {
		name, body string
		want       []string
	}{
		{"empty", "", []string{document}},
		{"no JSON", "{sources}", []string{document}},
		{"cut off", one("")[:20], []string{document}},
		{"two documents", one("") + "{}", []string{document}},
		{"a byte order mark", "\ufeff" + one(""), []string{document}},
		{"nested too deeply", one(`,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)), []string{document}},
		{"no UTF-8", one(`,"ref":"` + "\xff" + `"`), []string{"body  must be valid UTF-8"}},
		{"half a surrogate", one(`,"ref":"\ud800"`), []string{"body  contains an escaped surrogate without its other half"}},
		{"a surrogate", one(`,"ref":"\ud83d\ude00"`), nil},
		{"the largest", one("") + strings.Repeat(" ", 256<<10-len(one(""))), nil},
		{"too large", one("") + strings.Repeat(" ", 256<<10-len(one(""))+1), []string{"body  must not exceed 256 KiB"}},
		{"an array", "[]", []string{"body  must be an object"}},
		{"null", "null", []string{"body  must be an object"}},
		{"nothing", "{}", []string{"body /sources is required"}},
		{"sources is null", `{"sources":null}`, []string{"body /sources must be an array"}},
		{"no sources", `{"sources":[]}`, []string{"body /sources must have 1 to 100 items"}},
		{"most sources", sources(100), nil},
		{"too many sources", sources(101), []string{"body /sources must have 1 to 100 items"}},
		{"a source is a text", `{"sources":["x"]}`, []string{"body /sources/0 must be an object"}},
		{"an empty source", `{"sources":[{}]}`, []string{"body /sources/0/aspspId is required", "body /sources/0/consentId is required"}},
		{
			"everything at once",
			`{"sources":[{"aspspId":1,"consentId":null,"ref":[],"requestId":{"a":[1]},"accountIds":"1","providerAuthorization":true}],` +
				`"include":"balances","require":true,"allowPartial":"true","dryRun":null,"wait":5}`,
			[]string{
				"body /sources/0/aspspId must be a string", "body /sources/0/consentId must be a string", "body /sources/0/ref must be a string",
				"body /sources/0/requestId must be a string", "body /sources/0/accountIds must be an array",
				"body /sources/0/providerAuthorization must be a string", "body /include must be an array", "body /require must be a string",
				"body /allowPartial must be true or false", "body /dryRun must be true or false", "body /wait is not a member of this object",
			},
		},
		{
			"values", `{"sources":[{"aspspId":"x","consentId":" c","ref":"","requestId":"x","accountIds":["..","",1],"providerAuthorization":"t"}],` +
				`"include":["balance"],"require":"some"}`,
			[]string{
				"body /sources/0/aspspId must be a UUID (36 characters)", "body /sources/0/consentId must not begin or end with white space",
				"body /sources/0/ref must not be empty", "body /sources/0/requestId must be a UUID (36 characters)",
				`body /sources/0/accountIds/0 must not be "." or ".."`, "body /sources/0/accountIds/1 must not be empty",
				"body /sources/0/accountIds/2 must be a string", "body /sources/0/providerAuthorization must be `Bearer` followed by a token",
				"body /include/0 must be `balances`", "body /require must be `any` or `all`",
			},
		},
		{"the longest ref", one(`,"ref":"` + strings.Repeat("ж", 64) + `"`), nil},
		{"too long a ref", one(`,"ref":"` + strings.Repeat("ж", 65) + `"`), []string{"body /sources/0/ref must not exceed 64 characters"}},
		{"a ref with control characters", one(`,"ref":"a\n"`), []string{"body /sources/0/ref must not contain control characters"}},
		{
			"an invisible consent", `{"sources":[{"aspspId":"` + bank + `","consentId":"a\u200bb"}]}`,
			[]string{"body /sources/0/consentId must not contain invisible characters"},
		},
		{"too long a consent", `{"sources":[{"aspspId":"` + bank + `","consentId":"` + strings.Repeat("c", 257) + `"}]}`, []string{"body /sources/0/consentId must not exceed 256 characters"}},
		{"the longest token", one(`,"providerAuthorization":"Bearer ` + strings.Repeat("t", 8185) + `"`), nil},
		{"too long a token", one(`,"providerAuthorization":"Bearer ` + strings.Repeat("t", 8186) + `"`), []string{"body /sources/0/providerAuthorization must not exceed 8192 characters"}},
		{"most ids", ids(50), nil},
		{"too many ids", ids(51), []string{"body /sources/0/accountIds must have 1 to 50 items"}},
		{"no ids", ids(0), []string{"body /sources/0/accountIds must have 1 to 50 items"}},
		{"an id twice", one(`,"accountIds":["a","b","a"]`), []string{"body /sources/0/accountIds/2 must differ from the others"}},
		{
			"a UUID in two cases", one(`,"accountIds":["` + bank + `","` + strings.ToUpper(bank) + `"]`),
			[]string{"body /sources/0/accountIds/1 must differ from the others"},
		},
		{"include twice", `{"include":["balances","balances"],` + one("")[1:], []string{"body /include must have 0 to 1 items"}},
		{"include nothing", `{"include":[],` + one("")[1:], nil},
		{"a member twice", one(`,"consentId":"d"`), []string{"body /sources/0/consentId must occur only once"}},
		{"a list twice", `{"sources":[],` + one("")[1:], []string{"body /sources must have 1 to 100 items", "body /sources must occur only once"}},
		{"in other letters", one(`,"consentID":"d","accountids":[]`), []string{
			"body /sources/0/consentID is not a member of this object", "body /sources/0/accountids is not a member of this object",
		}},
		{"unknown, and perhaps personal", one(`,"DE89370400440532013000":1,"Maria Ivanova":{"a":{"b":[]}},"a/b":1,"":2`), []string{"body /sources/0 has an unknown member"}},
		{"unknown twice", one(`,"x":1,"x":2`), []string{"body /sources/0/x is not a member of this object"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, named(tt.body)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSourcesAreUnique checks refs, also against defaults, and consents.
func TestSourcesAreUnique(t *testing.T) {
	const ref, consent = "must differ from the others; the default is the index", "must differ from the others in aspspId or consentId"
	source := func(ref, aspsp, consent string) string {
		s := `{"aspspId":"` + aspsp + `","consentId":"` + consent + `"`
		if ref != "" {
			s += `,"ref":"` + ref + `"`
		}
		return s + "}"
	}
	other := strings.Replace(bank, "4f1e", "5f1e", 1)
	for _, tt := range []struct {
		name    string
		sources []string
		want    []string
	}{
		{"different", []string{source("a", bank, "1"), source("b", bank, "2"), source("c", other, "1")}, nil},
		{"a ref twice", []string{source("a", bank, "1"), source("a", bank, "2")}, []string{"body /sources/1/ref " + ref}},
		{"the default of a later one", []string{source("1", bank, "1"), source("", bank, "2")}, []string{"body /sources/0/ref " + ref}},
		{"the default of an earlier one", []string{source("", bank, "1"), source("0", bank, "2")}, []string{"body /sources/1/ref " + ref}},
		{"its own index", []string{source("0", bank, "1"), source("", bank, "2")}, nil},
		{"in other letters", []string{source("a", bank, "1"), source("A", bank, "2")}, nil},
		{"a consent twice", []string{source("", bank, "1"), source("", bank, "2"), source("", strings.ToUpper(bank), "1")}, []string{"body /sources/2 " + consent}},
		{"a UUID in two cases", []string{source("", bank, other), source("", bank, strings.ToUpper(other))}, []string{"body /sources/1 " + consent}},
		{"a text in two cases", []string{source("", bank, "a"), source("", bank, "A")}, nil},
		{"faulty", []string{`{"aspspId":"x","consentId":"a"}`, `{"aspspId":"y","consentId":"a"}`}, []string{
			"body /sources/0/aspspId must be a UUID (36 characters)", "body /sources/1/aspspId must be a UUID (36 characters)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, named(`{"sources":[`+strings.Join(tt.sources, ",")+`]}`)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFaultsAreBounded checks that a small body does not get a large response.
func TestFaultsAreBounded(t *testing.T) {
	var members []string
	for i := range 5000 {
		members = append(members, fmt.Sprintf(`"%c%c%c":0`, 'a'+i%26, 'a'+i/26%26, 'a'+i/676))
	}
	if n := len(named("{" + strings.Join(members, ",") + "}")); n != 1000 {
		t.Errorf("%d faults", n)
	}
}

// TestFaultySourcesCount checks that faulty sources are counted for the rate limit, and an unreadable
// body has none.
func TestFaultySourcesCount(t *testing.T) {
	for body, want := range map[string]int{
		`{"sources":[{},1,{"aspspId":"x"}]}`:               3,
		`{"sources":[` + strings.Repeat("1,", 500) + `1]}`: 100,
		`{"sources":{}}`: 0,
		`{`:              0,
	} {
		if r, faults := parsed(body); len(r.Sources) != want || faults == nil {
			t.Errorf("%.20s: %d sources, %d faults", body, len(r.Sources), len(faults))
		}
	}
}

func TestFingerprint(t *testing.T) {
	of := func(body string, psu *canonical.PSU) string {
		r, faults := parse.Aggregation(strings.NewReader(body), canonical.Query{PSU: psu}, requestID)
		if faults != nil {
			t.Fatal(faults)
		}
		return r.Fingerprint
	}
	first := of(one(`,"accountIds":["1","2"]`), nil)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(first) {
		t.Errorf("%q", first)
	}
	for name, same := range map[string]string{
		"spaces and order": ` {"dryRun":false, "sources": [ {"accountIds": ["1", "\u0032"], "consentId": "c", "aspspId": "` + strings.ToUpper(bank) + `"} ]}`,
		"the defaults":     `{"include":[],"require":"any","allowPartial":false,` + one(`,"accountIds":["1","2"],"ref":"0"`)[1:],
	} {
		if of(same, nil) != first {
			t.Errorf("%s make a difference", name)
		}
	}
	r, _ := parse.Aggregation(strings.NewReader(one(`,"accountIds":["1","2"]`)), canonical.Query{}, bank)
	if r.Fingerprint != first {
		t.Error("X-Request-ID makes a difference")
	}
	if of(one(`,"accountIds":["1","2"]`), &canonical.PSU{}) == first {
		t.Error("attended makes no difference")
	}
	seen := map[string]string{first: "the first"}
	for _, body := range []string{
		one(""), one(`,"accountIds":["2","1"]`), one(`,"accountIds":["12"]`), one(`,"ref":"a"`), one(`,"requestId":"` + bank + `"`),
		one(`,"providerAuthorization":"Bearer a"`), one(`,"providerAuthorization":"Bearer b"`), strings.Replace(one(""), `"c"`, `"d"`, 1),
		strings.Replace(one(""), "4f1e", "5f1e", 1), `{"include":["balances"],` + one("")[1:], `{"require":"all",` + one("")[1:],
		`{"allowPartial":true,` + one("")[1:], strings.Replace(one(""), "]", `,{"aspspId":"`+bank+`","consentId":"d"}]`, 1),
	} {
		if twin := seen[of(body, nil)]; twin != "" {
			t.Errorf("%s has the fingerprint of %s", body, twin)
		}
		seen[of(body, nil)] = body
	}
}

func TestAggregationHeaders(t *testing.T) {
	type header = map[string][]string
	jsonBody := []string{"application/json"}
	wait := func(seconds int, valid bool) parse.AggregationHeader {
		return parse.AggregationHeader{Wait: time.Duration(seconds) * time.Second, Waits: valid}
	}
	tests := []struct {
		name   string
		header header
		want   parse.AggregationHeader
		faults []string
	}{
		{"bare", header{}, wait(20, false), []string{"Content-Type must be application/json"}},
		{"JSON", header{"Content-Type": jsonBody}, wait(20, false), nil},
		{"JSON in UTF-8", header{"Content-Type": {`Application/JSON; Charset="UTF-8"`}}, wait(20, false), nil},
		{"JSON in another charset", header{"Content-Type": {"application/json; charset=latin1"}}, wait(20, false), []string{"Content-Type must be application/json"}},
		{"JSON with another parameter", header{"Content-Type": {"application/json; profile=x"}}, wait(20, false), []string{"Content-Type must be application/json"}},
		{"a form", header{"Content-Type": {"application/x-www-form-urlencoded"}}, wait(20, false), []string{"Content-Type must be application/json"}},
		{"no type", header{"Content-Type": {""}}, wait(20, false), []string{"Content-Type must be application/json"}},
		{"two types", header{"Content-Type": {"application/json", "application/json"}}, wait(20, false), []string{"Content-Type must be sent only once"}},
		{"not encoded", header{"Content-Type": jsonBody, "Content-Encoding": {"Identity"}}, wait(20, false), nil},
		{
			"encoded",
			header{"Content-Type": jsonBody, "Content-Encoding": {"identity", "gzip"}},
			parse.AggregationHeader{Wait: 20 * time.Second, Encoded: true},
			[]string{"Content-Encoding is not supported: send the body as it is"},
		},
	}
	for value, want := range map[string]parse.AggregationHeader{
		"wait=1": wait(1, true), "wait=60": wait(60, true), "wait=61": wait(60, true), "wait=99999999999999999999": wait(60, true),
		"WAIT = 5": wait(5, true), `wait="7"`: wait(7, true), "wait=3; x=y": wait(3, true), "respond-async, wait=4": wait(4, true),
		`x="a, wait=1", wait=2`: wait(2, true), "wait=8, wait=9": wait(8, true),
		"wait=0": wait(20, false), "wait=-1": wait(20, false), "wait=1.5": wait(20, false), "wait": wait(20, false), "wait=": wait(20, false),
		"wait=x, wait=9": wait(20, false), "waits=5": wait(20, false), `wait=5, x="`: wait(20, false), "": wait(20, false), "x;wait=5": wait(20, false),
	} {
		tests = append(tests, struct {
			name   string
			header header
			want   parse.AggregationHeader
			faults []string
		}{"Prefer: " + value, header{"Content-Type": jsonBody, "Prefer": {value}}, want, nil})
	}
	tests = append(tests, struct {
		name   string
		header header
		want   parse.AggregationHeader
		faults []string
	}{"two lines of Prefer", header{"Content-Type": jsonBody, "Prefer": {"handling=strict", "wait=6", "wait=7"}}, wait(6, true), nil})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, faults := parse.AggregationHeaders(http.Header(tt.header))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			var all []string
			for _, f := range faults {
				all = append(all, f.Name+" "+f.Detail)
			}
			if diff := cmp.Diff(tt.faults, all); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAcceptsAStream(t *testing.T) {
	for value, want := range map[string]bool{
		"application/x-ndjson": true, "Application/X-NDJSON;q=0.1": true, "application/json, application/x-ndjson": true,
		"application/x-ndjson;q=0": false, "application/x-ndjson; q=0.000": false, "*/*": false, "application/*": false, "application/json": false,
		"": false, "application/x-ndjson2": false, `text/plain;x="a, application/x-ndjson"`: false,
	} {
		got, _ := parse.AggregationHeaders(http.Header{"Accept": {value}})
		if got.Stream != want {
			t.Errorf("Accept: %s: %t", value, got.Stream)
		}
	}
	if got, _ := parse.AggregationHeaders(http.Header{"Accept": {"text/html", "application/x-ndjson"}}); !got.Stream {
		t.Error("the second line of Accept is not read")
	}
}

func TestBodyThatEndsEarly(t *testing.T) {
	body := io.MultiReader(strings.NewReader(one("")), failingReader{})
	_, faults := parse.Aggregation(body, canonical.Query{}, requestID)
	if want := []canonical.FieldError{{In: "body", Detail: "cannot be read completely"}}; !slices.Equal(faults, want) {
		t.Errorf("%v", faults)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// FuzzAggregation checks that a body without a fault is what encoding/json reads, and that no fault
// repeats a value.
func FuzzAggregation(f *testing.F) {
	f.Add(one(`,"ref":"r","accountIds":["1"]`))
	f.Add(`{"sources":[{"aspspId":1e999,"x":[{"y":[]}]},null,true]}`)
	f.Add(`{"include":["balances"],"sources":[[],{},"",0]}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, faults := parsed(body)
		for _, fault := range faults {
			if !regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)*$`).MatchString(fault.Name) || len(fault.Name) > 100 {
				t.Errorf("%q", fault)
			}
		}
		if faults != nil {
			return
		}
		var plain struct {
			Sources []struct{ ASPSPID, ConsentID string }
		}
		if err := json.Unmarshal([]byte(body), &plain); err != nil || len(plain.Sources) != len(r.Sources) {
			t.Fatalf("%v, %d sources, want %d", err, len(r.Sources), len(plain.Sources))
		}
		for i, s := range plain.Sources {
			if q := r.Sources[i].Query; q.Consent != s.ConsentID || q.ASPSP != strings.ToLower(s.ASPSPID) {
				t.Errorf("source %d", i)
			}
		}
	})
}
