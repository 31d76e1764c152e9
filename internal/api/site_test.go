package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	contract "ais-gateway/api"
	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api"
	"ais-gateway/internal/auth"
	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/unattended"
)

const (
	bank     = "4f1e2d3c-0000-4000-8000-00000000000a"
	stranger = "4f1e2d3c-0000-4000-8000-0000000000ff"
	theirID  = "99391C7E-ad88-49ec-a2ad-99ddcb1f7721"
	allScope = "key-of-all"
	noScope  = "key-of-none"
)

// fake is a Gateway that returns fixed results and records its calls.
type fake struct {
	list    gateway.AccountsResult
	sheet   gateway.BalancesResult
	state   unattended.Usage
	err     error
	missing []canonical.FieldError
	during  func(context.Context)
	policy  *config.Unattended // of the one ASPSP, where it is another

	// Of the one ASPSP.
	psuAddressRequired bool
	requires           providers.Requirements
	capabilities       providers.Capabilities

	aggregate func(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error)

	mu    sync.Mutex
	asked []asked
}

type asked struct {
	call, client, account string
	query                 canonical.Query
	wants                 gateway.CacheControl
	unit                  unattended.Call // of access
	aggregation           aggregation.Request
}

var policy = config.Unattended{Limit: 4, Window: 24 * time.Hour, Unit: config.UnitConsent}

func (f *fake) ASPSPs() []gateway.ASPSPInfo {
	one := gateway.ASPSPInfo{
		ID: bank, Name: "Wood & Bank", Provider: "mastercard", Unattended: policy, PSUAddressRequired: f.psuAddressRequired,
		Requires: f.requires, Capabilities: f.capabilities, Breaker: breaker.HalfOpen,
	}
	if f.policy != nil {
		one.Unattended = *f.policy
	}
	return []gateway.ASPSPInfo{one}
}

func (f *fake) ASPSP(id string) (gateway.ASPSPInfo, bool) { return f.ASPSPs()[0], id == bank }

func (f *fake) Check(canonical.Query) []canonical.FieldError { return f.missing }

func (f *fake) note(ctx context.Context, a asked) {
	f.mu.Lock()
	f.asked = append(f.asked, a)
	f.mu.Unlock()
	if f.during != nil {
		f.during(ctx)
	}
}

func (f *fake) Accounts(ctx context.Context, client string, q canonical.Query, w gateway.CacheControl) (gateway.AccountsResult, error) {
	f.note(ctx, asked{call: "accounts", client: client, query: q, wants: w})
	return f.list, f.err
}

func (f *fake) Balances(ctx context.Context, client string, q canonical.Query, account string) (gateway.BalancesResult, error) {
	f.note(ctx, asked{call: "balances", client: client, account: account, query: q})
	return f.sheet, f.err
}

func (f *fake) UnattendedAccess(ctx context.Context, call unattended.Call) (unattended.Usage, error) {
	f.note(ctx, asked{call: "access", unit: call})
	return f.state, f.err
}

func (f *fake) DeleteCachedData(ctx context.Context, client string, q canonical.Query) error {
	f.note(ctx, asked{call: "forget", client: client, query: q})
	return f.err
}

func (f *fake) Aggregate(ctx context.Context, r aggregation.Request, ready func(aggregation.SourceResult)) (aggregation.Result, error) {
	f.note(ctx, asked{call: "aggregate", client: r.Client, query: r.Sources[0].Query, wants: r.Control, aggregation: r})
	switch {
	case f.aggregate != nil:
		return f.aggregate(ctx, r, ready)
	case f.err != nil:
		return aggregation.Result{}, f.err
	}
	var result aggregation.Result
	for i := range r.Sources {
		s := f.source(r, i)
		ready(s)
		result.Sources = append(result.Sources, s)
	}
	return result, nil
}

// source returns a good result of a source of a request.
func (f *fake) source(r aggregation.Request, i int) aggregation.SourceResult {
	s, one := r.Sources[i], 1
	result := aggregation.SourceResult{
		Index: i, Ref: s.Ref, ASPSP: s.Query.ASPSP, Provider: "mastercard", RequestID: s.Query.RequestID, Attended: s.Query.Attended(),
		Outcome: aggregation.OK, Freshness: f.list.Freshness, Accounts: []aggregation.Account{},
	}
	if !result.Attended {
		result.Cost = aggregation.Cost{Min: 1, Max: &one, Spent: 1}
		result.Usage = &unattended.Usage{Limit: 4, Used: 1, Remaining: 3, Window: 24 * time.Hour}
	}
	return result
}

// site is a server of the API, with its contract.
type site struct {
	gateway  *fake
	url      string
	log      *buffer
	document *openapi3.T
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// good returns a fake that succeeds.
func good() *fake {
	fetched := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	return &fake{
		list: gateway.AccountsResult{
			Accounts:  json.RawMessage("[]"),
			Freshness: gateway.Freshness{Source: gateway.FromProvider, FetchedAt: fetched},
			Cache:     gateway.CacheStatus{Forward: gateway.ForwardMiss, Stored: true}, CacheResult: gateway.CacheMiss,
		},
		sheet: gateway.BalancesResult{Freshness: gateway.Freshness{Source: gateway.FromProvider, FetchedAt: fetched}},
		state: unattended.Usage{Limit: 4, Remaining: 4, Window: 24 * time.Hour, Unit: config.UnitConsent},
	}
}

func settings(f *fake, log io.Writer) api.Config {
	return api.Config{
		Gateway: f, Aggregator: f,
		Callers: auth.New(auth.Config{Now: time.Now, Clients: config.Clients{APIKeys: []config.APIKey{
			{Name: "empty", SHA256: config.Hashes{digest("")}}, // no key is not a key
			{Name: "another", SHA256: config.Hashes{digest("key-of-another")}},
			{Name: "all", SHA256: config.Hashes{digest(allScope)}, Scopes: []string{config.ScopeAccounts, config.ScopeBalances}},
			{Name: "nothing", SHA256: config.Hashes{digest(noScope)}},
		}}}),
		Now:      time.Now,
		Logger:   slog.New(slog.NewJSONHandler(log, nil)),
		Contract: contract.Contract,
	}
}

func open(t testing.TB, f *fake, change ...func(*api.Config)) *site {
	t.Helper()
	s := &site{gateway: f, log: &buffer{}, document: document(t)}
	c := settings(f, s.log)
	for _, ch := range change {
		ch(&c)
	}
	server := httptest.NewServer(api.New(c))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

var document = func() func(testing.TB) *openapi3.T {
	load := sync.OnceValues(func() (*openapi3.T, error) {
		document, err := openapi3.NewLoader().LoadFromData(contract.Contract)
		if err != nil {
			return nil, err
		}
		err = document.Validate(context.Background(), openapi3.IsOpenAPI31OrLater())
		for _, schema := range document.Components.Schemas {
			closed(schema)
		}
		closeResponses(document)
		return document, err
	})
	return func(t testing.TB) *openapi3.T {
		t.Helper()
		d, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if !d.IsOpenAPI31OrLater() {
			t.Fatal("the contract is not OpenAPI 3.1")
		}
		return d
	}
}()

// closed closes a schema and its parts: tests must not accept unknown members and words, as clients
// do.
func closed(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Ref != "" && ref.Value.AdditionalProperties.Has != nil {
		return
	}
	s := ref.Value
	if s.Type.Is("object") {
		s.AdditionalProperties.Has = new(bool)
	}
	if words, ok := s.Extensions["x-extensible-enum"].([]any); ok {
		s.Enum = words
	}
	for _, p := range s.Properties {
		closed(p)
	}
	closed(s.Items)
	for _, of := range slices.Concat(s.AnyOf, s.OneOf) {
		closed(of)
	}
	if len(s.AllOf) > 0 {
		closeUnion(s)
	}
}

// closeUnion closes a schema whose parts all apply: each part is open, and together they are closed.
func closeUnion(s *openapi3.Schema) {
	if s.AdditionalProperties.Has != nil {
		return
	}
	s.AdditionalProperties.Has = new(bool)
	s.Properties = openapi3.Schemas{}
	for i, part := range s.AllOf {
		closed(part)
		open := *part.Value
		open.AdditionalProperties = openapi3.AdditionalProperties{}
		s.AllOf[i] = &openapi3.SchemaRef{Value: &open}
		maps.Copy(s.Properties, open.Properties)
	}
}

// closeResponses closes the other open parts of responses: codes, and the reasons in Cache-Status.
func closeResponses(document *openapi3.T) {
	responses := slices.Collect(maps.Values(document.Components.Responses))
	for _, item := range document.Paths.Map() {
		for _, operation := range item.Operations() {
			responses = slices.AppendSeq(responses, maps.Values(operation.Responses.Map()))
		}
	}
	for _, response := range responses {
		for _, content := range response.Value.Content {
			closed(content.Schema)
		}
	}
	var reasons []string
	for _, word := range document.Components.Schemas["Freshness"].Value.Properties["staleReason"].Value.Enum {
		reasons = append(reasons, word.(string))
	}
	status := document.Components.Headers["Cache-Status"].Value.Schema.Value
	status.Pattern = strings.Replace(status.Pattern, openReason, "detail=("+strings.Join(reasons, "|")+")", 1)
}

// openReason is the part of Cache-Status's pattern that allows new reasons.
const openReason = "detail=[a-z_]+"

// header is sent unchanged and in order.
type header struct{ name, value string }

// apiKey and consent are the headers that a valid request needs.
var (
	apiKey   = header{"X-API-Key", allScope}
	consent  = header{"Consent-ID", "GFiTpF3:EBy5xGqQMatk"}
	attended = header{"PSU-IP-Address", "192.0.2.17"}
)

// reply is a complete response.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request with exactly this target and these headers, and checks request and response
// against the contract. An aggregation has the body oneSource.
func (s *site) do(t testing.TB, method, target string, headers ...header) reply {
	t.Helper()
	if method == http.MethodPost && target == aggregations {
		return s.post(t, oneSource, headers...)
	}
	return s.send(t, method, target, "", headers...)
}

// post sends an aggregation, as JSON unless the headers say otherwise.
func (s *site) post(t testing.TB, body string, headers ...header) reply {
	t.Helper()
	if !slices.ContainsFunc(headers, func(h header) bool { return h.name == "Content-Type" }) {
		headers = append(slices.Clone(headers), header{"Content-Type", "application/json"})
	}
	return s.send(t, http.MethodPost, aggregations, body, headers...)
}

func (s *site) send(t testing.TB, method, target, body string, headers ...header) reply {
	t.Helper()
	r, err := http.NewRequest(method, s.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = target
	for _, h := range headers {
		r.Header.Add(h.name, h.value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{response.StatusCode, response.Header, string(received)}
	for _, values := range r.Header {
		for i := range values {
			values[i] = strings.Trim(values[i], " \t") // as it arrives (RFC 9110, section 5.5)
		}
	}
	for _, err := range s.check(method, target, r.Header, got, body) {
		t.Errorf("%s %s: %v\n%s", method, target, err, received)
	}
	return got
}

// check returns the deviations of a request and its response from the contract.
func (s *site) check(method, target string, sent http.Header, got reply, body ...string) []error {
	var faults []error
	if got.header.Get("X-Request-ID") == "" || got.header.Get("Cache-Control") != "no-store" ||
		got.header.Get("X-Content-Type-Options") != "nosniff" {
		faults = append(faults, fmt.Errorf("headers of every answer are missing: %v", got.header))
	}
	streamed := got.header.Get("Content-Type") == "application/x-ndjson"
	if length := got.header.Get("Content-Length"); method != http.MethodHead && !streamed && got.status != http.StatusNoContent && length != strconv.Itoa(len(got.body)) {
		faults = append(faults, fmt.Errorf("the length is %q, want %d", length, len(got.body)))
	}
	route, params := s.route(method, target)
	if route == nil {
		return append(faults, s.checkUnrouted(got)...)
	}
	path, query, _ := strings.Cut(target, "?")
	in := &openapi3filter.RequestValidationInput{
		Request: &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: sent, Body: io.NopCloser(strings.NewReader(strings.Join(body, ""))),
		},
		Route:      route,
		PathParams: params,
		Options:    &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, ExcludeResponseBody: streamed},
	}
	if streamed {
		faults = append(faults, s.checkLines(got.body)...)
	}
	ctx := context.Background()
	if !slices.Contains([]string{"FORMAT_ERROR", "UNAUTHENTICATED", "FORBIDDEN", "RATE_LIMITED"}, got.problem().Code) {
		if err := openapi3filter.ValidateRequest(ctx, in); err != nil {
			faults = append(faults, fmt.Errorf("the request is not in the contract: %w", err))
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: got.status, Header: got.header, Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(ctx, out.SetBodyBytes([]byte(got.body))); err != nil && method != http.MethodHead {
		faults = append(faults, fmt.Errorf("the answer is not in the contract: %w", err))
	}
	if described := route.Operation.Responses.Status(got.status); described != nil {
		for name := range got.header {
			known := slices.Contains([]string{"Content-Type", "Content-Length", "Date"}, name)
			for documented := range described.Value.Headers {
				known = known || http.CanonicalHeaderKey(documented) == name
			}
			if !known {
				faults = append(faults, fmt.Errorf("%s is not in the contract", name))
			}
		}
	}
	return faults
}

// checkLines returns the deviations of a stream's lines from the contract.
func (s *site) checkLines(body string) (faults []error) {
	schema := s.document.Components.Schemas["AggregationLine"].Value
	for line := range strings.Lines(body) {
		var value any
		err := json.Unmarshal([]byte(line), &value)
		if err == nil {
			err = schema.VisitJSON(value, openapi3.EnableJSONSchema2020())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("a line is not in the contract: %w", err))
		}
	}
	return faults
}

// checkUnrouted checks a response that the contract describes under no path against its schema of
// problems.
func (s *site) checkUnrouted(got reply) []error {
	if got.body == "" { // of HEAD
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(got.body), &value); err != nil {
		return []error{err}
	}
	schema := s.document.Components.Schemas["Problem"].Value
	if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		return []error{err}
	}
	if got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
		return []error{fmt.Errorf("status %d without a route", got.status)}
	}
	if (got.status == http.StatusMethodNotAllowed) != (got.header.Get("Allow") != "") {
		return []error{fmt.Errorf("status %d with Allow %q", got.status, got.header.Get("Allow"))}
	}
	return nil
}

// route returns the operation of a target, and its path parameters, each unescaped once.
func (s *site) route(method, target string) (*routers.Route, map[string]string) {
	path, _, _ := strings.Cut(target, "?")
	segments := strings.Split(path, "/")
	if segments[len(segments)-1] == "" { // a path's parameter is not empty at its end: /v1/aspsps/ is no route
		return nil, nil
	}
	for template, item := range s.document.Paths.Map() {
		parts, params := strings.Split(template, "/"), map[string]string{}
		matches := len(parts) == len(segments)
		for i := 0; matches && i < len(parts); i++ {
			if name, ok := strings.CutPrefix(parts[i], "{"); ok {
				value, err := url.PathUnescape(segments[i])
				params[strings.TrimSuffix(name, "}")] = value
				matches = err == nil
			} else {
				matches = parts[i] == segments[i]
			}
		}
		described := method
		if method == http.MethodHead && slices.Contains(safePaths, template) {
			described = http.MethodGet
		}
		if operation := item.GetOperation(described); matches && operation != nil {
			return &routers.Route{Spec: s.document, Path: template, PathItem: item, Method: method, Operation: operation}, params
		}
	}
	return nil, nil
}

// safePaths lists the paths that have HEAD.
var safePaths = []string{"/openapi.yaml", "/v1/aspsps", "/v1/aspsps/{aspspId}", "/v1/aspsps/{aspspId}/unattended-access"}

// problem has the members of a problem that tests read.
type problem struct {
	Type, Title, Detail, Code, Origin, Action, RequestID, TraceID, ASPSPID, Provider string

	Status            int
	Retryable         bool
	RetryAfterSeconds int

	Errors        []struct{ In, Name, Detail string }
	ProviderError *struct {
		HTTPStatus         int
		Source, ReasonCode string
	}
}

func (r reply) problem() problem {
	var p problem
	if r.header.Get("Content-Type") == "application/problem+json" {
		_ = json.Unmarshal([]byte(r.body), &p) // the contract check reports invalid JSON
	}
	return p
}

// named returns the faults of a problem as "in name", in order.
func (p problem) named() []string {
	var names []string
	for _, e := range p.Errors {
		names = append(names, e.In+" "+e.Name)
	}
	slices.Sort(names)
	return names
}

const (
	accountsOf = "/v1/aspsps/" + bank + "/accounts"
	accessOf   = "/v1/aspsps/" + bank + "/unattended-access"
	cachedOf   = "/v1/aspsps/" + bank + "/cached-data"

	aggregations = "/v1/aggregations"
	oneSource    = `{"sources":[{"aspspId":"` + bank + `","consentId":"GFiTpF3:EBy5xGqQMatk"}]}`
)

func balancesOf(segment string) string { return accountsOf + "/" + segment + "/balances" }
