package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	contract "ais-gateway/api"
	"ais-gateway/internal/api"
	"ais-gateway/internal/canonical"
)

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// TestRoutesAreTheContract compares gin's routes with the contract.
func TestRoutesAreTheContract(t *testing.T) {
	var served, described []string
	for _, r := range api.Routes(settings(good(), io.Discard)) {
		served = append(served, r.Method+" "+r.Path)
	}
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+strings.NewReplacer("{", ":", "}", "").Replace(path))
		}
		if slices.Contains(safePaths, path) {
			described = append(described, http.MethodHead+" "+strings.NewReplacer("{", ":", "}", "").Replace(path))
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("the contract (-) and the routes (+) differ:\n%s", diff)
	}
}

func TestProblemCodesAreTheContract(t *testing.T) {
	var described []string
	for _, code := range document(t).Components.Schemas["ProblemCode"].Value.Enum { // closed from x-extensible-enum
		described = append(described, code.(string))
	}
	var served []string
	for _, k := range kinds(t) {
		if k != canonical.Canceled { // nobody is left to see it
			served = append(served, string(k))
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("the contract (-) and the kinds (+) differ:\n%s", diff)
	}
}

// kinds returns all kinds of error from the source that declares them, so that the list is
// complete.
func kinds(t *testing.T) []canonical.Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../canonical/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []canonical.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, canonical.Kind(text))
		}
		return true
	})
	if len(all) < 21 {
		t.Fatalf("found only %d kinds", len(all))
	}
	return all
}

// TestHeadersOfTheContract sends each header of the contract twice: the API must read the header.
func TestHeadersOfTheContract(t *testing.T) {
	s := open(t, good())
	for _, name := range headerNames(t) {
		t.Run(name, func(t *testing.T) {
			got := s.do(t, http.MethodGet, accountsOf, apiKey, header{name, "1"}, header{name, "1"})
			if p := got.problem(); p.Code != "FORMAT_ERROR" || !slices.Contains(p.named(), "header "+name) {
				t.Errorf("answered %d %v", got.status, p.named())
			}
		})
	}
}

func headerNames(t testing.TB) []string {
	t.Helper()
	names := map[string]bool{}
	for _, p := range document(t).Components.Parameters {
		if p.Value.In == "header" {
			names[p.Value.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func TestContractIsServed(t *testing.T) {
	s := open(t, good())
	got := s.do(t, http.MethodGet, "/openapi.yaml")
	if got.status != http.StatusOK || got.body != string(contract.Contract) || got.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("answered %d %v", got.status, got.header)
	}
	ill := s.do(t, http.MethodGet, "/openapi.yaml", header{"X-Request-ID", "1"})
	if diff := cmp.Diff([]string{"header X-Request-ID"}, ill.problem().named()); diff != "" {
		t.Error(diff)
	}
}

// TestCheckerBites checks that the contract check of the other tests finds deviations.
func TestCheckerBites(t *testing.T) {
	s := open(t, good())
	answer := s.do(t, http.MethodGet, "/v1/aspsps", apiKey)
	for name, spoil := range map[string]func(*reply){
		"a member more":       func(r *reply) { r.body = strings.Replace(r.body, `"name"`, `"more":1,"name"`, 1) },
		"a member less":       func(r *reply) { r.body = strings.Replace(r.body, `"name"`, `"other"`, 1) },
		"a word of no list":   func(r *reply) { r.body = strings.Replace(r.body, "half_open", "ajar", 1) },
		"another type":        func(r *reply) { r.header.Set("Content-Type", "text/plain") },
		"an unknown header":   func(r *reply) { r.header.Set("Server", "x") },
		"no request id":       func(r *reply) { r.header.Del("X-Request-ID") },
		"a status of no list": func(r *reply) { r.status = http.StatusTeapot },
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := reply{answer.status, answer.header.Clone(), answer.body}
			spoil(&spoiled)
			if s.check(http.MethodGet, "/v1/aspsps", http.Header{}, spoiled) == nil {
				t.Error("not found out")
			}
		})
	}
}

// TestCheckerClosesOpenWords checks that the contract check finds a code of another status, and an
// unknown reason.
func TestCheckerClosesOpenWords(t *testing.T) {
	s := open(t, good())
	sent := http.Header{}
	sent.Set(consent.name, consent.value)
	refused := s.do(t, http.MethodGet, accountsOf, header{"X-API-Key", noScope}, consent)
	if refused.status != http.StatusForbidden || s.check(http.MethodGet, accountsOf, sent, refused) != nil {
		t.Fatalf("answered %d %s", refused.status, refused.body)
	}
	refused.body = strings.Replace(refused.body, `"FORBIDDEN"`, `"NOT_FOUND"`, 1)
	if s.check(http.MethodGet, accountsOf, sent, refused) == nil {
		t.Error("a code of another status is not found out")
	}
	list := s.do(t, http.MethodGet, accountsOf, apiKey, consent)
	for reason, known := range map[string]bool{"unattended_limit": true, "full_moon": false} {
		list.header.Set("Cache-Status", "ais-gateway; hit; ttl=-3; detail="+reason)
		if err := s.check(http.MethodGet, accountsOf, sent, list); (err == nil) != known {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// TestSchemasAreOpen checks that the contract can grow: new members and new words of open lists are
// allowed, and fixed words stay.
func TestSchemasAreOpen(t *testing.T) {
	text := string(contract.Contract)
	if n := strings.Count(text, "additionalProperties"); n != 2 { // the objects of the request's body
		t.Errorf("%d schemas are closed to other members, want 2", n)
	}
	if regexp.MustCompile(`code: \{[^}]*\b(const|enum):`).MatchString(strings.ReplaceAll(text, "x-extensible-enum:", "")) {
		t.Error("a response is closed to other codes")
	}
	if strings.Count(text, openReason) != 1 {
		t.Error("Cache-Status is closed to other reasons")
	}
	schemas := document(t).Components.Schemas
	open := map[string]*openapi3.Schema{
		"type of an account": schemas["Account"].Value.Properties["type"].Value,
		"type of a balance":  schemas["Balance"].Value.Properties["type"].Value,
		"code":               schemas["ProblemCode"].Value,
		"scheme":             schemas["Identification"].Value.Properties["scheme"].Value,
		"staleReason":        schemas["Freshness"].Value.Properties["staleReason"].Value,
		"outcome":            schemas["AggregatedSource"].Value.Properties["outcome"].Value,
	}
	for name, schema := range open {
		if schema.Extensions["x-extensible-enum"] == nil {
			t.Errorf("%s is no list of open words", name)
		}
	}
	fixed := map[string]*openapi3.Schema{
		"action":               schemas["Problem"].Value.Properties["action"].Value,
		"origin":               schemas["Problem"].Value.Properties["origin"].Value,
		"creditDebitIndicator": schemas["Balance"].Value.Properties["creditDebitIndicator"].Value,
		"breaker.state":        schemas["ASPSP"].Value.Properties["breaker"].Value.Properties["state"].Value,
	}
	for name, schema := range fixed {
		if schema.Extensions["x-extensible-enum"] != nil || len(schema.Enum) == 0 {
			t.Errorf("%s is no list of fixed words", name)
		}
	}
}
