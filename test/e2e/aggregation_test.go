package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// aggregated is the part of an aggregation's response that the tests need.
type aggregated struct {
	Complete, Fresh bool
	Outcomes        map[string]int
	Sources         []aggregatedSource
	Code            string // of a problem
	Errors          []struct{ In, Name string }
}

type aggregatedSource struct {
	Index                   int
	Ref, Outcome, RequestID string
	ASPSPID                 string `json:"aspspId"`
	Cost                    struct{ Min, Spent int }
	Unattended              *struct{ Remaining int }
	Accounts                []aggregatedAccount
	Problem                 struct{ Code string }
	Freshness               struct{ Source string }
}

type aggregatedAccount struct {
	AccountID       string
	IBAN            string
	SameAs          []struct{ Index int }
	Balances        []map[string]any
	BalancesProblem struct {
		Code              string
		Needed, Remaining int
	}
}

// source is a source of an aggregation's request.
type source struct {
	Ref                   string   `json:"ref,omitempty"`
	ASPSP                 string   `json:"aspspId"`
	Consent               string   `json:"consentId"`
	ProviderAuthorization string   `json:"providerAuthorization,omitempty"`
	AccountIDs            []string `json:"accountIds,omitempty"`
}

// fourBanks returns sources at four banks of four providers, with new consents.
func fourBanks() []source {
	consent := uuid.NewString()
	return []source{
		{Ref: "wood", ASPSP: mastercardsim.WoodBank, Consent: mastercardsim.FreshConsent + uuid.NewString()},
		{Ref: "mypos", ASPSP: sandbox.MyPOS, Consent: uuid.NewString(), ProviderAuthorization: "Bearer " + mypossim.GoodToken},
		{Ref: "elm", ASPSP: sandbox.ElmBank, Consent: uuid.NewString()},
		{Ref: "kingfisher", ASPSP: sandbox.KingfisherBank, Consent: consent, ProviderAuthorization: "Bearer " + obiesim.Token(consent)},
	}
}

// aggregation returns the body of a request.
func aggregation(sources []source, more string) string {
	text, err := json.Marshal(sources)
	if err != nil {
		panic(err)
	}
	return `{"include":["balances"],"sources":` + string(text) + more + `}`
}

func aggregate(t *testing.T, api, body string, header ...string) (*http.Response, aggregated) {
	t.Helper()
	resp, text := gatewaytest.Post(t, api+"/v1/aggregations", body, header...)
	var got aggregated
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%d %s: %v", resp.StatusCode, text, err)
	}
	return resp, got
}

// TestAggregation: four banks of four providers in one request, unattended, with the fewest calls
// that each bank allows.
func TestAggregation(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	resp, got := aggregate(t, p.API, aggregation(fourBanks(), `,"allowPartial":true`))
	if resp.StatusCode != http.StatusOK || len(got.Sources) != 4 || resp.Header.Get("RateLimit") != "" {
		t.Fatalf("%d %+v", resp.StatusCode, got)
	}
	spent := 0
	for i, s := range got.Sources {
		spent += s.Cost.Spent
		if s.Index != i || len(s.Accounts) == 0 || s.Unattended == nil || s.Unattended.Remaining != 4-s.Cost.Spent {
			t.Errorf("%+v", s)
		}
	}
	if calls := len(w.CallLog.Calls()); calls != spent {
		t.Errorf("%d slots spent, %d calls", spent, calls)
	}
	if elm := got.Sources[2]; elm.Cost.Spent != 1 || elm.Outcome != "ok" {
		t.Errorf("a bank whose list has the balances: %+v", elm)
	}
	if kingfisher := got.Sources[3]; kingfisher.Cost.Spent != 2 || kingfisher.Outcome != "ok" {
		t.Errorf("a bank with all balances in one call: %+v", kingfisher)
	}
}

// TestSameAccountOfTwoBanks: an account with the same IBAN and currency at two providers is named in
// both, and stays two accounts.
func TestSameAccountOfTwoBanks(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: func(provider string, sim http.Handler) http.Handler {
		if provider != "mypos" {
			return sim
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sim.ServeHTTP(&rewriter{ResponseWriter: w, old: "BG80BNBG96611020345678", new: "DE02120300000000202051"}, r)
		})
	}})
	p := gatewaytest.Serve(t, w.ConfigFile)
	_, got := aggregate(t, p.API, aggregation(fourBanks()[1:3], ""), "PSU-IP-Address", "203.0.113.7")
	if !got.Complete || len(got.Sources) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, s := range got.Sources {
		same := 0
		for _, a := range s.Accounts {
			for _, other := range a.SameAs {
				if same++; other.Index != 1-i || a.IBAN != "DE02120300000000202051" || len(a.Balances) == 0 {
					t.Errorf("source %d: %+v", i, a)
				}
			}
		}
		if same != 1 {
			t.Errorf("source %d: %d accounts are those of the other source", i, same)
		}
	}
}

// rewriter replaces a text in each part of a body. Both texts have the same length.
type rewriter struct {
	http.ResponseWriter
	old, new string
}

func (r *rewriter) Write(p []byte) (int, error) {
	return r.ResponseWriter.Write([]byte(strings.ReplaceAll(string(p), r.old, r.new)))
}

// TestAggregationIsRepeated: a repeat with the same idempotency key makes no call: afterwards, on
// another gateway, and after its deletion it is a new one.
func TestAggregationIsRepeated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	first, second := gatewaytest.Serve(t, w.ConfigFile), gatewaytest.Serve(t, w.ConfigFile)
	sources := fourBanks()
	body := aggregation(sources, `,"allowPartial":true`)
	key := []string{"Idempotency-Key", "key-" + uuid.NewString()}
	_, want := aggregate(t, first.API, body, key...)
	calls := len(w.CallLog.Calls())
	if calls == 0 {
		t.Fatal("no call")
	}
	for _, p := range []*gatewaytest.Process{first, second} {
		resp, got := aggregate(t, p.API, body, key...)
		if !reflect.DeepEqual(got, want) || len(w.CallLog.Calls()) != calls {
			t.Errorf("%d calls more\ngot  %+v\nwant %+v", len(w.CallLog.Calls())-calls, got, want)
		}
		if status := resp.Header.Get("Cache-Status"); status != "ais-gateway; hit; detail=replayed" {
			t.Errorf("Cache-Status is %q", status)
		}
	}
	spaced := strings.ReplaceAll(body, `":`, `" : `)
	if _, got := aggregate(t, second.API, spaced, key...); !reflect.DeepEqual(got, want) {
		t.Errorf("the same body with white space: %+v", got)
	}
	for name, try := range map[string]func() (*http.Response, aggregated){
		"another body": func() (*http.Response, aggregated) {
			return aggregate(t, second.API, aggregation(sources, ""), key...)
		},
		"attended": func() (*http.Response, aggregated) {
			return aggregate(t, second.API, body, append([]string{"PSU-IP-Address", "203.0.113.7"}, key...)...)
		},
	} {
		resp, got := try()
		if resp.StatusCode != http.StatusBadRequest || len(got.Errors) != 1 || got.Errors[0].Name != "Idempotency-Key" {
			t.Errorf("%s: %d %+v", name, resp.StatusCode, got)
		}
	}
	if len(w.CallLog.Calls()) != calls {
		t.Errorf("%d calls more", len(w.CallLog.Calls())-calls)
	}
	resp, text := gatewaytest.Call(t, http.MethodDelete, second.API+"/v1/aspsps/"+sources[2].ASPSP+"/cached-data", "Consent-ID", sources[2].Consent)
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	if resp, _ := aggregate(t, first.API, body, key...); resp.Header.Get("Cache-Status") != "" || len(w.CallLog.Calls()) == calls {
		t.Errorf("after the deletion: %v, %d calls more", resp.Header, len(w.CallLog.Calls())-calls)
	}
	// Ten minutes later Redis has dropped it.
	calls = len(w.CallLog.Calls())
	for _, name := range server.Do("KEYS", "ais:*aggregations*results").Val().([]any) {
		server.Do("PEXPIRE", name, 0)
	}
	if resp, _ := aggregate(t, first.API, body, key...); resp.Header.Get("Cache-Status") != "" || len(w.CallLog.Calls()) == calls {
		t.Errorf("after ten minutes: %v, no call", resp.Header)
	}
}

// gate holds back the requests to one provider until it is opened.
type gate struct {
	provider string
	open     chan struct{}
	waiting  chan struct{} // gets a value for each request that waits
}

func newGate(provider string) *gate {
	return &gate{provider: provider, open: make(chan struct{}), waiting: make(chan struct{}, 100)}
}

func (g *gate) front(provider string, sim http.Handler) http.Handler {
	if provider != g.provider {
		return sim
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.waiting <- struct{}{}
		<-g.open
		sim.ServeHTTP(w, r)
	})
}

// TestLateBalances: a bank that hangs delays no other source, and is NOT_IN_TIME at the end of the
// wait. Its balances arrive later, in a repeat that makes no call. Repeats during the first request
// wait for it.
func TestLateBalances(t *testing.T) {
	t.Parallel()
	hanging := newGate("mypos")
	release := sync.OnceFunc(func() { close(hanging.open) })
	defer release()
	w := gatewaytest.NewSandboxOn(t, redistest.Start(t), sandbox.Options{Front: hanging.front})
	config := gatewaytest.ReplaceInConfig(t, w, "apiKeyFile: ", "timeout: 60s, apiKeyFile: ")
	first, second := gatewaytest.Serve(t, config), gatewaytest.Serve(t, config)
	body := aggregation(fourBanks(), "")
	key := []string{"Idempotency-Key", "late", "PSU-IP-Address", "203.0.113.7"}
	during := make(chan aggregated, 1)
	go func() {
		<-hanging.waiting
		_, got := aggregate(t, second.API, body, append(key, "Prefer", "wait=1")...)
		during <- got
	}()
	resp, got := aggregate(t, first.API, body, append(key, "Prefer", "wait=3")...)
	if resp.Header.Get("Preference-Applied") != "wait=3" || len(got.Sources) != 4 {
		t.Fatalf("%d %v %+v", resp.StatusCode, resp.Header, got)
	}
	late := func(a aggregated) bool {
		return a.Sources[1].Outcome == "failed" && a.Sources[1].Problem.Code == "NOT_IN_TIME"
	}
	if !late(got) || got.Outcomes["ok"] != 3 {
		t.Errorf("%+v", got)
	}
	if repeated := <-during; len(repeated.Sources) != 4 || !late(repeated) {
		t.Errorf("a repeat during the request: %+v", repeated)
	}
	release()
	gatewaytest.Eventually(t, "the late balances are in a repeat", func() bool {
		_, again := aggregate(t, second.API, body, append(key, "Prefer", "wait=1")...)
		// No call was started after the end of the wait, so that the balances are missing.
		return len(again.Sources[1].Accounts) > 0
	})
	calls := 0
	for _, c := range w.CallLog.Calls() {
		if c.ASPSP == sandbox.MyPOS {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("%d calls at the bank that hung", calls)
	}
}

// TestAggregationStream: each source is a line as soon as it is complete, and the summary is the last
// one. A stream of a gateway that is killed has no summary.
func TestAggregationStream(t *testing.T) {
	t.Parallel()
	hanging := newGate("mypos")
	release := sync.OnceFunc(func() { close(hanging.open) })
	defer release()
	w := gatewaytest.NewSandbox(t, sandbox.Options{Front: hanging.front})
	for _, killed := range []bool{true, false} {
		p := gatewaytest.Serve(t, w.ConfigFile)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.API+"/v1/aggregations", strings.NewReader(aggregation(fourBanks(), "")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{
			"X-Api-Key": {sandbox.Key}, "Content-Type": {"application/json"}, "Accept": {"application/x-ndjson"},
			"Psu-Ip-Address": {"203.0.113.7"},
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "application/x-ndjson" || resp.Header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		seen, last := readStream(t, resp, func(line int) {
			switch {
			case line != 3:
			case killed:
				p.Kill()
			default:
				release()
			}
		})
		if complete := last.Summary != nil; complete == killed || complete && (!last.Summary.Satisfied || seen != "0123") || killed && strings.Contains(seen, "1") {
			t.Errorf("killed %t: sources %s, summary %+v", killed, seen, last.Summary)
		}
	}
}

type streamLine struct {
	Source  *aggregatedSource
	Summary *struct{ Satisfied bool }
}

// readStream reads a stream to its end. It returns the indexes of its sources in ascending order, and
// its last line.
func readStream(t *testing.T, resp *http.Response, after func(line int)) (indexes string, last streamLine) {
	t.Helper()
	var seen [10]bool
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		last = streamLine{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Errorf("line %d: %v", n, err)
		}
		if last.Source != nil {
			seen[last.Source.Index] = true
		}
		after(n)
	}
	for i, s := range seen {
		if s {
			indexes += fmt.Sprint(i)
		}
	}
	return indexes, last
}

// TestAggregationRefused: a faulty request is refused as a whole, and nothing is sent.
func TestAggregationRefused(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	p := gatewaytest.Serve(t, w.ConfigFile)
	good := fourBanks()
	text := aggregation(good, "")
	one := aggregation(good[:1], "")
	for name, tt := range map[string]struct {
		body   string
		header []string
		want   string // name of the fault
	}{
		"no sources":        {`{"sources":[]}`, nil, "/sources"},
		"101 sources":       {aggregation(many(101), ""), nil, "/sources"},
		"one twice":         {aggregation(append(good, good[0]), ""), nil, "/sources/4"},
		"unknown member":    {strings.Replace(text, `"include"`, `"includes"`, 1), nil, "/includes"},
		"two documents":     {text + text, nil, ""},
		"another type":      {one, []string{"Content-Type", "text/plain"}, "Content-Type"},
		"gzip":              {one, []string{"Content-Encoding", "gzip"}, "Content-Encoding"},
		"deep":              {`{"sources":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, nil, "/sources"},
		"too large":         {`{"sources":[` + strings.Repeat(" ", 256<<10) + `]}`, nil, ""},
		"51 accounts":       {aggregation([]source{{ASPSP: good[0].ASPSP, Consent: good[0].Consent, AccountIDs: strings.Split(strings.Repeat("a ", 50)+"a", " ")}}, ""), nil, "/sources/0/accountIds"},
		"not a UUID":        {aggregation([]source{{ASPSP: sandbox.MyPOS, Consent: "text", ProviderAuthorization: good[1].ProviderAuthorization}}, ""), nil, "/sources/0/consentId"},
		"without the token": {aggregation([]source{{ASPSP: sandbox.MyPOS, Consent: good[1].Consent}}, ""), nil, "/sources/0/providerAuthorization"},
	} {
		resp, got := aggregate(t, p.API, tt.body, tt.header...)
		named := false
		for _, e := range got.Errors {
			named = named || strings.HasPrefix(e.Name, tt.want) && (tt.want != "" || e.Name == "")
		}
		if resp.StatusCode != http.StatusBadRequest || got.Code != "FORMAT_ERROR" || !named {
			t.Errorf("%s: %d %s %+v", name, resp.StatusCode, got.Code, got.Errors)
		}
	}
	if n := len(w.CallLog.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
	resp, got := aggregate(t, p.API, aggregation(append(good, source{ASPSP: uuid.NewString(), Consent: "x"}), ""), "PSU-IP-Address", "203.0.113.7")
	if resp.StatusCode != http.StatusOK || got.Outcomes["ok"] != 4 || got.Sources[4].Problem.Code != "ASPSP_UNKNOWN" {
		t.Errorf("an unknown ASPSP: %d %+v", resp.StatusCode, got)
	}
}

// many returns n sources at one bank.
func many(n int) []source {
	all := make([]source, n)
	for i := range all {
		all[i] = source{ASPSP: sandbox.ElmBank, Consent: berlingroupsim.GoodConsent + fmt.Sprint(i)}
	}
	return all
}
