package api_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/api"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/mastercard"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// unobserved is a gateway.Observer that does nothing.
type unobserved struct{}

func (unobserved) Breaker(string, breaker.State)                     {}
func (unobserved) Refused(context.Context, string, bulkhead.Refusal) {}

// throughProvider returns the API with the real gateway and the real adapter of a provider that
// responds with body. {requestId} in body is replaced by the request id.
func throughProvider(t *testing.T, provider, body string) *site {
	t.Helper()
	provider = cmp.Or(provider, "mastercard")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent struct {
			Info struct {
				ID string `json:"xRequestId"`
			} `json:"requestInfo"`
		}
		content, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(content, &sent)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "{requestId}", sent.Info.ID))
	}))
	t.Cleanup(server.Close)
	st := redistest.OpenAt(t, redistest.Shared(t))
	lists, err := cache.New(st.Cache, [][]byte{make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	aspsp := config.ASPSPDefaults()
	aspsp.ID, aspsp.Name, aspsp.Provider = bank, "Wood & Bank", provider
	counter := unattended.New(st.Counter, map[string]config.Unattended{bank: aspsp.Unattended}).Within(redistest.CommandTimeout)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	const timeout = time.Minute
	wire := upstream.New(upstream.Config{Provider: provider, Timeout: timeout, Counter: counter})
	reader := adapter(t, provider, providers.Env{BaseURL: base, Client: wire.Client})
	g := gateway.New(gateway.Config{
		ASPSPs: []gateway.ASPSP{{ASPSP: aspsp, Adapter: reader, Timeout: timeout}}, Cache: lists, Counter: counter, RedisBudget: redistest.CommandTimeout, Slack: redistest.CommandTimeout,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Observer: unobserved{},
	})
	return open(t, good(), func(c *api.Config) { c.Gateway = g })
}

var signingKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

func adapter(t *testing.T, provider string, env providers.Env) providers.Provider {
	t.Helper()
	open, decode := mastercard.Open, func(into any) error {
		*into.(*mastercard.Config) = mastercard.Config{ConsumerKey: "consumer", SigningKeyFile: config.InMemoryFile(signingKey())}
		return nil
	}
	if provider == "mypos" {
		open, decode = mypos.Open, func(into any) error {
			*into.(*mypos.Config) = mypos.Config{APIKeyFile: config.InMemoryFile([]byte("key"))}
			return nil
		}
	}
	reader, err := open(decode, env)
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// member returns a member of a response as compact JSON.
func member(t *testing.T, body, name string) string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	return string(all[name])
}

const (
	mastercardEcho = `{"originalRequestInfo":{"xRequestId":"{requestId}"},`
	mastercardOne  = mastercardEcho + `"account":{"resourceId":"aa:1","name":"n","balances":[` +
		`{"balanceAmount":{"currency":"GBP","amount":102.56},"balanceType":"Available","creditDebitIndicator":"CREDIT"},` +
		`{"balanceAmount":{"currency":"GBP","amount":AMOUNT},"balanceType":"Current","creditDebitIndicator":"SIDE"TIME}]}}`
	myposOne = `{"account":{"accountNumber":"aa:1"},"balances":[{"amount":102.56,"currency":"GBP","balanceType":"available"},` +
		`{"amount":AMOUNT,"currency":"GBP","balanceType":"interimBooked"}]}`
	firstShown = `[{"type":"ITAV","providerType":"WORD","amount":{"value":"102.56","currency":"GBP"},"creditDebitIndicator":"CRDT","referenceDateTime":null},`
)

// TestProviderResponses checks that careless but usable responses lose no account and no balance.
func TestProviderResponses(t *testing.T) {
	balances := func(amount, side, at string) string {
		return strings.NewReplacer("AMOUNT", amount, "SIDE", side, "TIME", at).Replace(mastercardOne)
	}
	shown := func(value, side, rest string) string {
		return strings.Replace(firstShown, "WORD", "Available", 1) + `{"type":"ITBD","providerType":"Current","amount":{"value":"` + value +
			`","currency":"GBP"},"creditDebitIndicator":"` + side + `",` + rest + `}]`
	}
	accounts := func(rest string) string {
		return mastercardEcho + rest + `"accounts":[{"resourceId":"r1","currency":"GBP"}]}`
	}
	card := func(rest string) string {
		return mastercardEcho + `"accounts":[{"resourceId":"r1",` + rest + `,"accountNumber":"5413330000000019"}]}`
	}
	const (
		undated = `"referenceDateTime":null`
		oneGBP  = `[{"accountId":"r1","currency":"GBP","type":"OTHR"}]`
		masked  = `"identification":{"scheme":"PAN","value":"541333******0019"},`
	)
	tests := []struct {
		name, provider, body string
		want                 string // of accounts, or of balances
		balances             bool
	}{
		{name: "empty list of errors", body: accounts(`"Errors":[],`), want: oneGBP},
		{name: "empty list of errors, wrapped", body: accounts(`"Errors":{"Error":[]},`), want: oneGBP},
		{name: "empty errors", body: accounts(`"Errors":{},`), want: oneGBP},
		{name: "errors without a text", body: accounts(`"errors":"",`), want: oneGBP},
		{name: "no errors, wrapped", body: accounts(`"errors":{"Error":null},`), want: oneGBP},
		{name: "empty list of errors beside balances", body: strings.Replace(balances("1", "CREDIT", ""), `{"orig`, `{"Errors":{"Error":[]},"orig`, 1), want: shown("1.00", "CRDT", undated), balances: true},
		{name: "empty lists at myPOS", provider: "mypos", body: `{"tppMessages":[],"errors":[],"accounts":[{"accountNumber":"1"}]}`, want: `[{"accountId":"1","identification":{"scheme":"PROVIDER","value":"1"},"type":"OTHR"}]`},

		{name: "residue", body: balances("5.684341886080802e-14", "DEBIT", ""), want: shown("-0.00000000000005684341886080802", "DBIT", undated), balances: true},
		{name: "small residue", body: balances("1E-25", "CREDIT", ""), want: shown("0.0000000000000000000000001", "CRDT", undated), balances: true},
		{name: "a double's exact value", body: balances("0.1000000000000000055511151231257827021181583404541015625", "CREDIT", ""), want: shown("0.1000000000000000055511151231257827021181583404541015625", "CRDT", undated), balances: true},
		{name: "no zero before the point", body: balances(`".64"`, "CREDIT", ""), want: shown("0.64", "CRDT", undated), balances: true},
		{
			name: "residue at myPOS", provider: "mypos", body: strings.Replace(myposOne, "AMOUNT", "-5.684341886080802e-14", 1),
			want: strings.Replace(firstShown, "WORD", "available", 1) + `{"type":"ITBD","providerType":"interimBooked","amount":{"value":` +
				`"-0.00000000000005684341886080802","currency":"GBP"},"creditDebitIndicator":"DBIT",` + undated + `}]`, balances: true,
		},

		{name: "year 0", body: balances("42", "CREDIT", `,"dateTime":"0000-01-01T00:00:00Z"`), want: shown("42.00", "CRDT", undated+`,"providerDateTime":"0000-01-01T00:00:00Z"`), balances: true},
		{name: "before year 1", body: balances("42", "CREDIT", `,"dateTime":"0001-01-01T00:00:00+01:00"`), want: shown("42.00", "CRDT", undated+`,"providerDateTime":"0001-01-01T00:00:00+01:00"`), balances: true},
		{name: "no zone", body: balances("42", "CREDIT", `,"dateTime":"2026-01-14T10:00:00"`), want: shown("42.00", "CRDT", undated+`,"providerDateTime":"2026-01-14T10:00:00"`), balances: true},
		{name: "a date", body: balances("42", "CREDIT", `,"dateTime":"2026-01-14"`), want: shown("42.00", "CRDT", undated+`,"referenceDate":"2026-01-14"`), balances: true},
		{name: "a time", body: balances("42", "CREDIT", `,"dateTime":"2026-01-14t10:00:00+01"`), want: shown("42.00", "CRDT", `"referenceDateTime":"2026-01-14T09:00:00Z"`), balances: true},
		{name: "an empty time", body: balances("42", "CREDIT", `,"dateTime":""`), want: shown("42.00", "CRDT", undated), balances: true},

		{name: "card of OBIE", body: card(`"accountType":"CARD","schemeName":"UK.OBIE.PAN"`), want: `[{"accountId":"r1",` + masked + `"type":"CARD","providerType":"CARD"}]`},
		{name: "card of Berlin Group", body: card(`"accountType":"CARD","schemeName":"maskedPan"`), want: `[{"accountId":"r1",` + masked + `"type":"CARD","providerType":"CARD"}]`},
		{name: "card of STET", body: card(`"schemeName":"CPAN"`), want: `[{"accountId":"r1",` + masked + `"type":"OTHR"}]`},
		{name: "card without a scheme", body: card(`"accountType":"CARD"`), want: `[{"accountId":"r1",` + masked + `"type":"CARD","providerType":"CARD"}]`},
		{name: "IBAN of OBIE", body: mastercardEcho + `"accounts":[{"resourceId":"r1","schemeName":"UK.OBIE.IBAN","accountNumber":"GB29NWBK60161331926819"}]}`, want: `[{"accountId":"r1","iban":"GB29NWBK60161331926819","identification":{"scheme":"IBAN","value":"GB29NWBK60161331926819"},"type":"OTHR"}]`},
		{name: "several numbers", provider: "mypos", body: `{"accounts":[{"accountNumber":50044620073,"iban":"BG57INTF40015004462007"}]}`, want: `[{"accountId":"50044620073","iban":"BG57INTF40015004462007","identification":{"scheme":"IBAN","value":"BG57INTF40015004462007"},"otherIdentifications":[{"scheme":"PROVIDER","value":"50044620073"}],"type":"OTHR"}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target, name := accountsOf, "accounts"
			if tt.balances {
				target, name = balancesOf("aa%3A1"), "balances"
			}
			got := throughProvider(t, tt.provider, tt.body).get(t, target)
			if got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if diff := gocmp.Diff(tt.want, member(t, got.body, name)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestProviderResponsesThatAreRefused checks that contradictory responses are refused, and not
// returned or logged.
func TestProviderResponsesThatAreRefused(t *testing.T) {
	const pan = "5413330000000019"
	for name, body := range map[string]string{
		"an error beside accounts": mastercardEcho + `"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR"}]},"accounts":[{"resourceId":"r1","schemeName":"PAN","accountNumber":"` + pan + `"}]}`,
		"id is a card number":      mastercardEcho + `"accounts":[{"resourceId":"` + pan + `","accountType":"CARD"}]}`,
		"listed twice":             mastercardEcho + `"accounts":[{"resourceId":"r1","schemeName":"CPAN","accountNumber":"` + pan + `"},{"resourceId":"r1"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := throughProvider(t, "mastercard", body)
			got := s.get(t, accountsOf)
			if got.status != http.StatusBadGateway || member(t, got.body, "code") != `"PROVIDER_INVALID_RESPONSE"` {
				t.Errorf("%d %s", got.status, got.body)
			}
			if all := got.body + s.log.String(); strings.Contains(all, pan) || strings.Contains(all, pan[:7]) {
				t.Errorf("the card's number comes out: %s", all)
			}
		})
	}
	t.Run("a negative residue beside CREDIT", func(t *testing.T) {
		body := strings.NewReplacer("AMOUNT", "-5.684341886080802e-14", "SIDE", "CREDIT", "TIME", "").Replace(mastercardOne)
		if got := throughProvider(t, "", body).get(t, balancesOf("aa%3A1")); got.status != http.StatusBadGateway {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// get sends an attended request with a new consent.
func (s *site) get(t *testing.T, target string) reply {
	t.Helper()
	return s.do(t, http.MethodGet, target, apiKey, header{"Consent-ID", uuid.NewString()}, header{"Provider-Authorization", "Bearer token"}, header{"PSU-IP-Address", "203.0.113.7"})
}
