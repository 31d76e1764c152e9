package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"ais-gateway/internal/adapters"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/sandbox"
)

// Values of panics and of requests, which must not appear in responses, logs and profiles.
const (
	canaryConsent = "3c7816ee-3d51-4bf5-8ced-ece2af35d4c7"
	canaryToken   = "sandbox-token-of-Tirilist-99417"
	canaryAccount = "77345128961234"
)

// logBuffer is a log output that is safe to read concurrently.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *logBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *logBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A fakeProvider calls do instead of reading.
type fakeProvider struct {
	do func(q canonical.Query, account string)
}

func (p fakeProvider) Accounts(_ context.Context, q canonical.Query) ([]canonical.Account, error) {
	p.do(q, canaryAccount)
	return nil, nil
}

func (p fakeProvider) Balances(_ context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	p.do(q, account)
	return canonical.AccountBalances{}, nil
}

// runWithProvider runs the service in this process with a fakeProvider instead of myPOS.
func runWithProvider(t *testing.T, do func(q canonical.Query, account string)) (api string, logs *logBuffer) {
	t.Helper()
	was := table["mypos"]
	table["mypos"] = adapters.Entry{Open: func(decode func(any) error, env providers.Env) (providers.Provider, error) {
		if _, err := was.Open(decode, env); err != nil {
			return nil, err
		}
		return fakeProvider{do}, nil
	}}
	t.Cleanup(func() { table["mypos"] = was })
	world, err := sandbox.Start(t.Context(), sandbox.Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Stop)
	c, err := table.Load(world.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	logs = &logBuffer{}
	ctx, end := context.WithCancel(context.Background())
	a, err := newApp(ctx, c, logs)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + a.server.Addr().String() + "/v1/aspsps/" + sandbox.MyPOS, logs
}

// get reads the balances of an account, or the account list if account is "".
func get(t *testing.T, api, account string, header ...string) (int, string) {
	t.Helper()
	path := "/accounts"
	if account != "" {
		path += "/" + url.PathEscape(account) + "/balances"
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, api+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	header = append(header, "X-API-Key", sandbox.Key, "Consent-ID", canaryConsent, "Provider-Authorization", "Bearer "+canaryToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// canariesIn returns the canaries that text contains.
func canariesIn(text string) (found []string) {
	for _, canary := range []string{canaryConsent, canaryToken, canaryAccount, sandbox.Key} {
		if strings.Contains(text, canary) {
			found = append(found, canary)
		}
	}
	return found
}

// A panic ends its request with INTERNAL_ERROR and a log line with the stack. Its value is not
// returned or logged, and the process continues.
func TestPanicValuesStayOut(t *testing.T) {
	var with any
	api, logs := runWithProvider(t, func(q canonical.Query, account string) {
		if with == nil {
			_ = []string{}[len(account)] // a panic of the runtime
		}
		panic(with)
	})
	for name, value := range map[string]any{
		"a text": canaryAccount, "an error": errors.New(canaryToken), "a list": []string{canaryConsent}, "a query": canonical.Query{Consent: canaryConsent},
		"a pointer": &struct{ a string }{canaryAccount}, "the runtime": nil,
	} {
		with = value
		for _, account := range []string{"", canaryAccount} {
			for _, header := range [][]string{nil, {"PSU-IP-Address", "203.0.113.7"}} {
				before := len(logs.String())
				status, body := get(t, api, account, header...)
				if status != http.StatusInternalServerError || !strings.Contains(body, "INTERNAL_ERROR") {
					t.Errorf("%s: %d %s", name, status, body)
				}
				if found := canariesIn(body); found != nil {
					t.Errorf("%s: the response contains %q", name, found)
				}
				line := logs.String()[before:]
				for deadline := time.Now().Add(time.Minute); !strings.Contains(line, `"msg":"request"`) && time.Now().Before(deadline); line = logs.String()[before:] {
					time.Sleep(5 * time.Millisecond) // the line is logged after the response
				}
				if !strings.Contains(line, `"msg":"panic"`) || !strings.Contains(line, "panic_test.go") {
					t.Errorf("%s: logged %s", name, line)
				}
			}
		}
	}
	if found := canariesIn(logs.String()); found != nil {
		t.Errorf("the log contains %q", found)
	}
}

// Profiles, including the stacks of goroutines, contain no data of requests in progress.
func TestRequestDataStaysOutOfProfiles(t *testing.T) {
	arrived, leave := make(chan struct{}, 10), make(chan struct{})
	api, _ := runWithProvider(t, func(canonical.Query, string) { arrived <- struct{}{}; <-leave })
	var all sync.WaitGroup
	for _, account := range []string{"", canaryAccount} {
		for _, header := range [][]string{nil, {"PSU-IP-Address", "203.0.113.7"}} {
			all.Go(func() { get(t, api, account, header...) })
		}
	}
	for range 4 {
		select {
		case <-arrived:
		case <-time.After(20 * time.Second):
			t.Fatal("not all calls have arrived")
		}
	}
	for _, profile := range pprof.Profiles() {
		for _, form := range []int{0, 1, 2} {
			var out bytes.Buffer
			if err := profile.WriteTo(&out, form); err != nil {
				t.Fatal(err)
			}
			if profile.Name() == "goroutine" && form > 0 && !strings.Contains(out.String(), "fakeProvider") {
				t.Error("the profile does not have the goroutines of the calls")
			}
			if found := canariesIn(out.String()); found != nil {
				t.Errorf("profile %s in form %d contains %q", profile.Name(), form, found)
			}
		}
	}
	close(leave)
	all.Wait()
}
