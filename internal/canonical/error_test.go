package canonical_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
)

func TestError(t *testing.T) {
	tests := []struct {
		name string
		err  *canonical.Error
		want string
	}{
		{name: "fail", err: canonical.NewError(canonical.Overloaded, "too many readers"), want: "OVERLOADED from gateway: too many readers"},
		{name: "fail without a sentence", err: canonical.NewError(canonical.NotCached, ""), want: "NOT_CACHED from gateway"},
		{name: "invalid response", err: canonical.InvalidResponse("body is not JSON"), want: "PROVIDER_INVALID_RESPONSE from provider: body is not JSON"},
		{
			name: "what is for the caller alone",
			err: &canonical.Error{
				Kind: canonical.UnattendedLimit, Origin: canonical.OriginASPSP, RetryAfter: 1,
				Faults:   []canonical.FieldError{{In: "path", Name: "SENTINEL", Detail: "SENTINEL"}},
				Upstream: &canonical.UpstreamError{HTTPStatus: 400, Source: "SENTINEL", ReasonCode: "SENTINEL"},
			},
			want: "UNATTENDED_LIMIT from aspsp",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err.Error() != tt.want {
				t.Errorf("got %q, want %q", tt.err.Error(), tt.want)
			}
			var found *canonical.Error
			if !errors.As(fmt.Errorf("wrapped: %w", tt.err), &found) || found != tt.err {
				t.Error("it is not found once it is wrapped")
			}
		})
	}
}

// TestUpstreamErrorDropsTexts holds that only what has the form of a code is kept of a provider's
// error.
func TestUpstreamErrorDropsTexts(t *testing.T) {
	tests := []struct{ name, given, want string }{
		{name: "code", given: "PROVIDER_ERROR", want: "PROVIDER_ERROR"},
		{name: "padded code", given: " INVALID_TOKEN ", want: "INVALID_TOKEN"},
		{name: "code with dash, point and digits", given: "SERVICE-BLOCKED.4711", want: "SERVICE-BLOCKED.4711"},
		{name: "source", given: "OBC", want: "OBC"},
		{name: "64 characters", given: strings.Repeat("A", 64), want: strings.Repeat("A", 64)},
		{name: "65 characters", given: strings.Repeat("A", 65)},
		{name: "nothing", given: ""},
		{name: "sentence", given: "New SCA required"},
		{name: "name", given: "Иван Петров"},
		{name: "letter of another script", given: "JÜRGEN"},
		{name: "IBAN", given: "DE89370400440532013000"},
		{name: "account number", given: "50044620073"},
		{name: "five digits", given: "A12345"},
		{name: "address of mail", given: "a@b.example"},
		{name: "URL", given: "https://a.example"},
		{name: "markup", given: "<b>"},
		{name: "line break", given: "A\nB"},
		{name: "NUL", given: "A\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := &canonical.UpstreamError{HTTPStatus: 400, Source: tt.want, ReasonCode: "X"}
			if diff := cmp.Diff(want, canonical.NewUpstreamError(400, tt.given, "X")); diff != "" {
				t.Errorf("as source: -want +got:\n%s", diff)
			}
			want = &canonical.UpstreamError{HTTPStatus: 503, Source: "OBC", ReasonCode: tt.want}
			if diff := cmp.Diff(want, canonical.NewUpstreamError(503, "OBC", tt.given)); diff != "" {
				t.Errorf("as reason: -want +got:\n%s", diff)
			}
		})
	}
}

// TestKinds holds that Kinds names every kind that is declared, in the same order, and that no two
// share a text.
func TestKinds(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []canonical.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Kind" {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, canonical.Kind(text))
		}
		return true
	})
	if diff := cmp.Diff(declared, canonical.Kinds()); diff != "" || len(declared) < 20 {
		t.Errorf("-declared +listed:\n%s", diff)
	}
	seen := map[canonical.Kind]bool{}
	for _, k := range declared {
		if seen[k] {
			t.Errorf("two kinds are written %s", k)
		}
		seen[k] = true
	}
}

// TestRejectsConsent: only the provider or the ASPSP rejects a consent, and not with a token.
func TestRejectsConsent(t *testing.T) {
	for _, k := range canonical.Kinds() {
		want := k == canonical.ConsentExpired || k == canonical.ConsentInvalid
		for _, tt := range []struct {
			err  *canonical.Error
			want bool
		}{
			{&canonical.Error{Kind: k, Origin: canonical.OriginProvider}, want},
			{&canonical.Error{Kind: k, Origin: canonical.OriginASPSP}, want},
			{&canonical.Error{Kind: k, Origin: canonical.OriginASPSP, TokenRejected: true}, false},
			{canonical.NewError(k, ""), false},
		} {
			if got := tt.err.RejectsConsent(); got != tt.want {
				t.Errorf("%+v: %t, want %t", tt.err, got, tt.want)
			}
		}
	}
	if (*canonical.Error)(nil).RejectsConsent() {
		t.Error("no error rejects the consent")
	}
}
