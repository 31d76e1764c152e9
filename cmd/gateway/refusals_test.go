package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	gateway "ais-gateway/cmd/gateway"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A refusal is the response with which a provider refuses a read of balances, and the problem that
// the caller gets.
type refusal struct {
	name, provider string
	attended       bool
	account        string // "" for the default account
	status, header string
	body           string

	code, action, origin string
	retryAfter           string // "" for no header
	remaining            int    // unattended calls after the refusal
}

const zipHeader = "Content-Encoding: gzip\r\n"

// retryAfterTime returns a Retry-After header with a Unix time.
func retryAfterTime() string {
	return "Retry-After: " + strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10) + "\r\n"
}

var refusals = []refusal{
	// Compressed.
	{
		name: "limit, gzip", provider: "mypos", status: "429 No", header: zipHeader,
		body: zipped(`{"tppMessages":[{"category":"ERROR","code":"ACCESS_EXCEEDED"}]}`),
		code: "UNATTENDED_LIMIT", action: "retry_attended", origin: "aspsp", retryAfter: "86400", remaining: 0,
	},
	{
		name: "certificate, gzip", provider: "mypos", attended: true, status: "401 No", header: zipHeader,
		body: zipped(`{"tppMessages":[{"category":"ERROR","code":"CERTIFICATE_EXPIRED"}]}`),
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},
	{
		name: "token, gzip", provider: "mastercard", attended: true, status: "400 No", header: zipHeader,
		body: zipped(`{"Errors":{"Error":[{"ReasonCode":"INVALID_TOKEN","Source":"OBC","Description":"Access Token associated with the Request has expired"}]}}`),
		code: "CONSENT_EXPIRED", action: "renew_consent", origin: "provider", remaining: 4,
	},
	{
		name: "limit, brotli", provider: "mypos", status: "429 No", header: "Content-Encoding: br\r\n", body: "\x8b\x02\x80{}\x03",
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
	{
		name: "401, brotli", provider: "mypos", attended: true, status: "401 No", header: "Content-Encoding: br\r\n", body: "\x8b\x02\x80{}\x03",
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},

	// The provider has no such route.
	{
		name: "404 page", provider: "mastercard", attended: true, status: "404 No", header: "Content-Type: text/html\r\n",
		body: "<!DOCTYPE html><html><body><h1>Not Found</h1></body></html>",
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},
	{
		name: "404 router", provider: "mastercard", attended: true, status: "404 No", body: `{"message":"no route matches"}`,
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},
	{
		name: "404 text", provider: "mastercard", attended: true, status: "404 No", body: "404 page not found",
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},
	{
		name: "404 page", provider: "mypos", attended: true, status: "404 No", body: "<html>",
		code: "PROVIDER_REJECTED", action: "contact_support", origin: "provider", remaining: 4,
	},
	{name: "421", provider: "mypos", attended: true, status: "421 No", code: "PROVIDER_ERROR", action: "retry_later", origin: "provider", remaining: 4},

	// The quota of a rate limiter.
	{
		name: "API quota", provider: "mypos", status: "429 No", body: `{"title":"Too Many Requests","detail":"The API Request Quota is exhausted; retry after 21 seconds"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
	{
		name: "quota of requests", provider: "mypos", status: "429 No", body: `{"type":"RATE_LIMIT_ERROR","message":"How many requests may be made is restricted to a quota, which is reached"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
	{
		name: "quota of the consumer", provider: "mypos", status: "429 No", body: `{"type":"urn:problem-type:belgif:tooManyRequests","status":429,"detail":"The quota of this consumer was exceeded","limit":10,"retryAfterSec":30}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
	{
		name: "quota of seconds", provider: "mypos", status: "429 No", body: `{"message":"Quota of 5 requests per 10 seconds exceeded, try again in 3 s"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
	{
		name: "quota of accesses", provider: "mypos", status: "429 No", body: `{"code":429,"description":"Maximum access quota is reached!"}`,
		code: "UNATTENDED_LIMIT", action: "retry_attended", origin: "aspsp", retryAfter: "86400", remaining: 0,
	},
	{
		name: "bank's own wording", provider: "mastercard", status: "400 No", body: `{"Errors":{"Error":[{"ReasonCode":"PROVIDER_ERROR","Description":"Maximum number of accesses per day reached"}]}}`,
		code: "UNATTENDED_LIMIT", action: "retry_attended", origin: "aspsp", retryAfter: "86400", remaining: 0,
	},
	{
		name: "address required", provider: "mastercard", status: "400 No", body: `{"Errors":{"Error":[{"Source":"ASPSP","ReasonCode":"FORMAT_ERROR","Description":"PSU-IP-Address is missing"}]}}`,
		code: "UNATTENDED_LIMIT", action: "retry_attended", origin: "aspsp", retryAfter: "86400", remaining: 0,
	},

	// Retry-After.
	{
		name: "429 until a moment", provider: "mypos", attended: true, status: "429 No", header: retryAfterTime(), body: `{"message":"Too many requests"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 4,
	},
	{
		name: "429 until a moment", provider: "mastercard", attended: true, status: "429 No", header: retryAfterTime(), body: `{"message":"Too many requests"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 4,
	},
	{
		name: "503 until a moment", provider: "mypos", attended: true, status: "503 No", header: retryAfterTime(), body: `{"message":"Too many requests"}`,
		code: "PROVIDER_UNAVAILABLE", action: "retry_later", origin: "provider", retryAfter: "30", remaining: 4,
	},
	{
		name: "limit for half a minute", provider: "mypos", status: "429 No", header: "Retry-After: 30.5\r\n", body: `{"tppMessages":[{"code":"ACCESS_EXCEEDED"}]}`,
		code: "UNATTENDED_LIMIT", action: "retry_attended", origin: "aspsp", retryAfter: "31", remaining: 0,
	},
	{
		name: "attended limit", provider: "mypos", attended: true, status: "429 No", body: `{"tppMessages":[{"code":"ACCESS_EXCEEDED"}]}`,
		code: "UNATTENDED_LIMIT", action: "retry_later", origin: "aspsp", remaining: 4,
	},
	{
		name: "attended limit for an hour", provider: "mypos", attended: true, status: "429 No", header: "Retry-After: 3600\r\n", body: `{"tppMessages":[{"code":"ACCESS_EXCEEDED"}]}`,
		code: "UNATTENDED_LIMIT", action: "retry_later", origin: "aspsp", retryAfter: "3600", remaining: 4,
	},

	// Texts that quote the request: the id of the account contains the wording of a refusal.
	{
		name: "own account", provider: "mypos", account: "access quota", status: "429 No", body: `{"message":"Nothing for access quota now"}`,
		code: "PROVIDER_THROTTLED", action: "retry_later", origin: "provider", remaining: 3,
	},
}

// TestRefusalsOfProviders checks the problem for each refusal, and the number of unattended calls
// that are left.
func TestRefusalsOfProviders(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	servers := map[string]*badServer{}
	for _, provider := range badProviders {
		servers[provider] = openBadServer(t, provider)
	}
	api := runService(t, gatewaytest.EditConfig(t, w, func(text string) string {
		for _, s := range servers {
			text = withBaseURL(text, s, time.Minute)
		}
		return strings.ReplaceAll(text, "options: {", ownCodes)
	}))
	for _, r := range slices.Concat(refusals, standardRefusals) {
		t.Run(r.provider+" "+r.name, func(t *testing.T) {
			consent, bank := uuid.NewString(), api+"/v1/aspsps/"+aspspOf(r.provider)
			servers[r.provider].respondTo(consent, func(conn *badConn, q providerRequest) {
				reply(r.status, idHeader(q.requestID)+r.header, constant(r.body))(conn, q)
			})
			account := r.account
			if account == "" {
				account = accountOf(r.provider)
			}
			header := []string{"Consent-ID", consent, "Provider-Authorization", "Bearer " + consent}
			call := header
			if r.attended {
				call = append(call, "PSU-IP-Address", "203.0.113.7")
			}
			resp, body := gatewaytest.Call(t, http.MethodGet, bank+"/accounts/"+url.PathEscape(account)+"/balances", call...)
			var got struct{ Code, Action, Origin string }
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Code != r.code || got.Action != r.action || got.Origin != r.origin {
				t.Errorf("answered %d %s", resp.StatusCode, body)
			}
			if strings.Contains(fmt.Sprint(resp.Header, body), canary) {
				t.Errorf("the problem has text of the provider: %s", body)
			}
			if wait := resp.Header.Get("Retry-After"); !sameWait(wait, r.retryAfter) {
				t.Errorf("Retry-After is %q, want %q", wait, r.retryAfter)
			}
			_, body = gatewaytest.Call(t, http.MethodGet, bank+"/unattended-access", header...)
			var left struct{ Remaining int }
			if err := json.Unmarshal([]byte(body), &left); err != nil || left.Remaining != r.remaining {
				t.Errorf("left: %s, want %d", body, r.remaining)
			}
		})
	}
}

// A provider may compress a response although the request does not accept that.
func TestCompressedBalances(t *testing.T) {
	t.Parallel()
	w, server, consent := gatewaytest.NewSandbox(t, sandbox.Options{}), openBadServer(t, "mypos"), uuid.NewString()
	api := runService(t, gatewaytest.EditConfig(t, w, func(text string) string { return withBaseURL(text, server, time.Minute) }))
	server.respondTo(consent, reply("200 OK", "Content-Type: application/json\r\n"+zipHeader, constant(zipped(
		`{"account":{"accountNumber":"50044620073"},"balances":[{"amount":7.5,"currency":"PLN","balanceType":"available"}]}`))))
	resp, body := gatewaytest.Call(t, http.MethodGet, api+"/v1/aspsps/"+sandbox.MyPOS+"/accounts/50044620073/balances",
		"Consent-ID", consent, "Provider-Authorization", "Bearer x", "PSU-IP-Address", "203.0.113.7")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"amount":{"value":"7.50","currency":"PLN"}`) {
		t.Errorf("answered %d %s", resp.StatusCode, body)
	}
}

// runService runs the service in this process until the test ends, and returns the base URL of its
// API.
func runService(t *testing.T, config string) (api string) {
	t.Helper()
	api, stop, err := gateway.Run(t.Context(), config, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return api
}

// sameWait reports whether Retry-After is as wanted. A value above a minute may be up to a minute
// shorter.
func sameWait(got, want string) bool {
	n, err := strconv.Atoi(want)
	if err != nil || n <= 60 {
		return got == want
	}
	m, err := strconv.Atoi(got)
	return err == nil && m <= n && m > n-60
}
