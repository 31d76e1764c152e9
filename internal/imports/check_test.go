package imports

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCheck tests the check with invented rules.
func TestCheck(t *testing.T) {
	invented := []rule{
		{dir: "core", code: []string{"example.org/lib/..."}},
		{dir: "plug/*", code: []string{"core"}, test: []string{"./...", "odd"}},
		{dir: "plug/special", code: []string{"odd"}},
		{dir: "help", support: true, code: []string{"core"}},
		{dir: "odd"},
	}
	const no, unlisted = "no rule for", "not in the list"
	tests := []struct{ file, imported, fault string }{
		{"core/x.go", "encoding/json", ""},
		{"core/x.go", "example.org/lib", ""},
		{"core/x.go", "example.org/lib/v2/part", ""},
		{"core/x.go", "example.org/library", unlisted},
		{"core/x.go", "example.org", unlisted},
		{"core/x.go", module + "plug/a", unlisted},
		{"core/x.go", module + "core/part", unlisted},
		{"core/x.go", "testing", "only tests"},
		{"core/x.go", "testing/synctest", "only tests"},
		{"core/x_test.go", "testing", ""},
		{"core/x_test.go", module + "core", ""},
		{"core/x_test.go", module + "odd", unlisted},
		{"plug/a/x.go", module + "core", ""},
		{"plug/a/x.go", module + "plug/a/sub", unlisted},
		{"plug/a/x_test.go", module + "plug/a/sub", ""},
		{"plug/a/x_test.go", module + "plug/b", unlisted},
		{"plug/a/x_test.go", module + "odd", ""},
		{"plug/a/x.go", module + "odd", unlisted},
		{"plug/special/x.go", module + "odd", ""},
		{"plug/special/x.go", module + "core", unlisted},
		{"plug/a/x.go", module + "help", "only tests import it"},
		{"plug/a/x_test.go", module + "help", ""},
		{"help/x.go", "testing", ""},
		{"help/x.go", module + "core", ""},
		{"help/x.go", module + "odd", unlisted},
		{"fresh/x.go", "fmt", no},
		{"plug/a/sub/x.go", "fmt", no},
	}
	for _, tt := range tests {
		got := check(invented, tt.file, tt.imported)
		if (got == "") != (tt.fault == "") || !strings.Contains(got, tt.fault) {
			t.Errorf("%s imports %s: got %q, want %q", tt.file, tt.imported, got, tt.fault)
		}
	}
}

// TestFaults tests that files on disk are read, whatever their build tags, and those of other
// modules are not.
func TestFaults(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"core/a.go":          "//go:build never\n\npackage core\n\nimport _ \"ais-gateway/plug/a\"\n",
		"core/testdata/b.go": "package data\n\nimport _ \"log\"\n",
		"plug/a/a.go":        "package a\n",
		"other/go.mod":       "module other\n",
		"other/x.go":         "package other\n\nimport _ \"log\"\n",
		"fresh/x.go":         "package fresh\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	got := faults([]rule{{dir: "core"}, {dir: "plug/*"}, {dir: "gone"}}, files)
	want := []string{
		`core/a.go imports plug/a: not in the list of what it may import (rule "core" in internal/imports/rules_test.go)`,
		`fresh/x.go: no rule for fresh: add one to internal/imports/rules_test.go`,
		`rule "gone": there is no such directory with Go files`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRules tests the rules with imports that they must not allow, and beside each with imports
// that they must.
func TestRules(t *testing.T) {
	tests := []struct{ file, allowed, refused string }{
		{
			file:    "cmd/gateway/x.go",
			allowed: "internal/providers/mastercard internal/gateway internal/api internal/audit",
			refused: "github.com/sony/gobreaker/v2 go.opentelemetry.io/otel log internal/breaker",
		},
		{
			file:    "internal/adapters/x.go",
			allowed: "internal/config internal/providers internal/providers/upstream",
			refused: "internal/gateway internal/providers/mypos internal/secretwatch internal/telemetry",
		},
		{"internal/health/x.go", "internal/audit internal/secretwatch", "internal/adapters internal/telemetry github.com/redis/go-redis/v9"},
		{"cmd/gateway/x_test.go", "github.com/lestrrat-go/jwx/v3/jwt", ""},
		{"deploy/x.go", "", "internal/sandbox"},
		{"deploy/x_test.go", "internal/canonical", "internal/sandbox go.opentelemetry.io/otel/trace"},
		{"test/compare/peer/x.go", "internal/providers/responsetest", "internal/gateway internal/sandbox"},
		{"test/e2e/x_test.go", "internal/gatewaytest internal/sandbox", "internal/api"},
		{
			file:    "internal/api/x.go",
			allowed: "internal/gateway github.com/gin-gonic/gin log/slog math/rand/v2",
			refused: "internal/providers/mastercard internal/audit go.opentelemetry.io/otel " +
				"github.com/redis/go-redis/v9 github.com/coreos/go-oidc/v3/oidc " +
				"github.com/getkin/kin-openapi/openapi3 log math/rand github.com/bojanz/currency " +
				"net/http/pprof runtime/pprof runtime/trace",
		},
		{"internal/api/x_test.go", "internal/api github.com/getkin/kin-openapi/openapi3", ""},
		{"internal/accountkey/x.go", "internal/canonical crypto/hmac", "internal/config internal/cache"},
		{"internal/audit/x.go", "internal/canonical", "internal/config"},
		{"internal/breaker/x.go", "github.com/sony/gobreaker/v2", ""},
		{"internal/cache/x.go", "github.com/redis/go-redis/v9", "internal/gateway github.com/alicebob/miniredis/v2"},
		{"internal/cache/x_test.go", "", "internal/providers/mastercard/mastercardsim"},
		{"internal/auth/x.go", "github.com/coreos/go-oidc/v3/oidc", "github.com/lestrrat-go/jwx/v3/jwt"},
		{"internal/canonical/x.go", "github.com/google/uuid encoding/json", "golang.org/x/sync/singleflight internal/config"},
		{"internal/canonical/x_test.go", "github.com/google/go-cmp/cmp github.com/bojanz/currency", ""},
		{"internal/config/x.go", "", "internal/providers/mypos/mypossim"},
		{
			file:    "internal/gateway/x.go",
			allowed: "internal/providers",
			refused: "internal/providers/third internal/providers/mypos internal/api internal/sandbox " +
				"go.opentelemetry.io/otel/trace github.com/gin-gonic/gin github.com/redis/go-redis/v9 " +
				"github.com/sony/gobreaker/v2 github.com/go-jose/go-jose/v4 internal/crashproxy",
		},
		{
			file: "internal/gateway/x_test.go",
			allowed: "internal/providers/mastercard/mastercardsim internal/gateway github.com/redis/go-redis/v9 " +
				"internal/crashproxy",
		},
		{"internal/gatewaytest/x.go", "internal/sandbox", ""},
		{"internal/issuertest/x.go", "github.com/lestrrat-go/jwx/v3/jwt", ""},
		{"internal/bulkhead/x.go", "sync/atomic", "internal/canonical"},
		{"internal/prometheustest/x.go", "internal/servertest", ""},
		{"internal/providers/aspspsim/x.go", "", "internal/providers/mastercard internal/providers/httpsig"},
		{"internal/providers/httpsig/x.go", "internal/providers/adapterconfig", "internal/providers/aspspsim internal/providers"},
		{"internal/providers/mastercard/mastercardsim/x.go", "internal/providers/aspspsim", "internal/providers/mypos/mypossim internal/providers/httpsig"},
		{
			file:    "internal/providers/mastercard/x.go",
			allowed: "internal/providers internal/config internal/providers/adapter internal/providers/httpsig",
			refused: "internal/providers/mypos internal/providers/mastercard/mastercardsim internal/providers/upstream",
		},
		{
			file:    "internal/providers/mastercard/x_test.go",
			allowed: "internal/providers/mastercard/mastercardsim internal/providers/providertest",
			refused: "internal/providers/mypos/mypossim",
		},
		{
			file: "internal/providers/mypos/x.go",
			refused: "internal/providers/mastercard internal/providers/third internal/gateway " +
				"internal/providers/providertest github.com/shopspring/decimal",
		},
		{"internal/providers/mypos/x_test.go", "internal/providers/mypos/mypossim", "internal/providers/mastercard"},
		{"internal/providers/providertest/x.go", "internal/providers/aspspsim", ""},
		{
			file:    "internal/providers/upstream/x.go",
			allowed: "internal/unattended",
			refused: "internal/providers/mastercard go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp " +
				"github.com/redis/go-redis/v9",
		},
		{"internal/providers/upstream/x_test.go", "", "internal/providers/mypos/mypossim"},
		{"internal/providers/x.go", "internal/canonical", "internal/config internal/unattended internal/providers/upstream"},
		{"internal/redistest/x.go", "testing", ""},
		{"internal/recovery/x.go", "", "internal/telemetry"},
		{
			file:    "internal/sandbox/x.go",
			allowed: "internal/providers/mypos/mypossim",
			refused: "internal/redistest internal/issuertest internal/gatewaytest internal/servertest " +
				"internal/prometheustest internal/providers/providertest net/http/httptest internal/api " +
				"github.com/alicebob/miniredis/v2",
		},
		{"internal/server/x.go", "net/http/pprof", "runtime/pprof runtime/trace"},
		{
			file:    "internal/telemetry/x.go",
			allowed: "go.opentelemetry.io/otel/sdk/trace",
			refused: "internal/api internal/audit github.com/gin-gonic/gin github.com/gin-contrib/cors",
		},
		{"internal/unattended/x.go", "github.com/redis/go-redis/v9", "internal/gateway internal/redistest"},
		{"internal/unattended/x_test.go", "internal/redistest", "github.com/alicebob/miniredis/v2"},
		{"test/deploy/x_test.go", "internal/gatewaytest", "go.opentelemetry.io/otel/trace"},
		{"test/gateway/x.go", "", "internal/sandbox"},
		{"test/gateway/x_test.go", "internal/sandbox internal/providers/mypos/mypossim", ""},
	}
	full := func(name string) string {
		if strings.HasPrefix(name, "internal/") {
			return module + name
		}
		return name
	}
	for _, tt := range tests {
		for _, name := range strings.Fields(tt.allowed) {
			if fault := check(rules, tt.file, full(name)); fault != "" {
				t.Error(fault)
			}
		}
		for _, name := range strings.Fields(tt.refused) {
			if check(rules, tt.file, full(name)) == "" {
				t.Errorf("%s may import %s", tt.file, name)
			}
		}
	}
}
