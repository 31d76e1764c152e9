package main

const (
	own      = "ais-gateway/internal/"
	adapters = own + "providers/"
	otel     = "go.opentelemetry.io/otel"
	gin      = "github.com/gin-gonic/gin"
	redis    = "github.com/redis/go-redis/v9"
	mini     = "github.com/alicebob/miniredis/v2"
	breaker  = "github.com/sony/gobreaker/v2"
)

// plants are the imports that must be reported, and beside each rule some that must not.
var plants = []plant{
	{"internal/canonical/x.go", "github.com/google/uuid", nil},
	{"internal/canonical/x.go", "golang.org/x/text/unicode/norm", nil},
	{"internal/canonical/x.go", "encoding/json", nil},
	{"internal/canonical/x.go", "golang.org/x/sync/singleflight", []string{"canonical"}},
	{"internal/canonical/x.go", own + "config", []string{"canonical"}},
	{"internal/canonical/x_test.go", "github.com/google/go-cmp/cmp", nil},

	{"internal/load/x.go", "sync/atomic", nil},
	{"internal/load/x.go", own + "canonical", []string{"load"}},

	{"internal/providers/x.go", own + "canonical", nil},
	{"internal/providers/x.go", own + "config", []string{"providers"}},
	{"internal/providers/x.go", own + "unattended", []string{"providers"}},
	{"internal/providers/x.go", adapters + "upstream", []string{"providers"}},

	{"internal/providers/mastercard/x.go", own + "providers", nil},
	{"internal/providers/mastercard/x.go", own + "config", nil},
	{"internal/providers/mastercard/x.go", adapters + "upstream", nil},
	{"internal/providers/mastercard/x.go", adapters + "mypos", []string{"adapters", "mastercard"}},
	{"internal/providers/mastercard/x.go", adapters + "mastercard/mastercardsim", []string{"adapters"}},
	{"internal/providers/mastercard/x_test.go", adapters + "mastercard/mastercardsim", nil},
	{"internal/providers/mastercard/x_test.go", adapters + "providertest", nil},
	{"internal/providers/mastercard/x_test.go", adapters + "mypos/mypossim", []string{"mastercard"}},
	{"internal/providers/mastercard/mastercardsim/x.go", adapters + "aspspsim", nil},
	{"internal/providers/mastercard/mastercardsim/x.go", adapters + "mypos/mypossim", []string{"adapters", "mastercard"}},
	{"internal/providers/mypos/x.go", adapters + "mastercard", []string{"adapters", "mypos"}},
	{"internal/providers/mypos/x_test.go", adapters + "mypos/mypossim", nil},
	{"internal/providers/mypos/x_test.go", adapters + "mastercard", []string{"mypos"}},
	{"internal/providers/upstream/x.go", own + "unattended", nil},
	{"internal/providers/upstream/x.go", adapters + "mastercard", []string{"adapters", "beside-adapters"}},

	{"internal/providers/upstream/x_test.go", adapters + "mypos/mypossim", []string{"beside-adapters"}},
	{"internal/providers/providertest/x.go", adapters + "aspspsim", nil},
	{"internal/providers/aspspsim/x.go", adapters + "mastercard", []string{"adapters", "beside-adapters"}},
	{"internal/providers/mypos/x.go", adapters + "third", []string{"adapters"}},

	{"cmd/gateway/x.go", adapters + "mastercard", nil},
	{"internal/gateway/x.go", own + "providers", nil},
	{"internal/gateway/x.go", adapters + "third", []string{"adapters-only-in-cmd"}},
	{"internal/sandbox/x.go", adapters + "mypos/mypossim", nil},
	{"internal/gateway/x.go", adapters + "mypos", []string{"adapters-only-in-cmd"}},
	{"internal/gateway/x_test.go", adapters + "mastercard/mastercardsim", nil},
	{"internal/cache/x_test.go", adapters + "mastercard/mastercardsim", []string{"adapters-only-in-cmd"}},
	{"internal/api/x.go", adapters + "mastercard", []string{"adapters-only-in-cmd"}},
	{"internal/config/x.go", adapters + "mypos/mypossim", []string{"adapters-only-in-cmd"}},

	{"internal/api/x.go", own + "gateway", nil},
	{"cmd/gateway/x.go", own + "gateway", nil},
	{"internal/gateway/x_test.go", own + "gateway", nil},
	{"internal/cache/x.go", own + "gateway", []string{"gateway-only-above"}},
	{"internal/unattended/x.go", own + "gateway", []string{"gateway-only-above"}},
	{"internal/providers/mypos/x.go", own + "gateway", []string{"gateway-only-above"}},

	{"cmd/gateway/x.go", own + "api", nil},
	{"internal/sandbox/x.go", own + "api", nil},
	{"internal/api/x_test.go", own + "api", nil},
	{"internal/gateway/x.go", own + "api", []string{"api-only-in-cmd"}},
	{"internal/telemetry/x.go", own + "api", []string{"api-only-in-cmd"}},
	{"internal/gateway/x.go", own + "sandbox", []string{"api-only-in-cmd"}},

	{"internal/audit/x.go", own + "canonical", nil},
	{"internal/audit/x.go", own + "config", []string{"audit"}},
	{"internal/rescue/x.go", own + "telemetry", []string{"audit"}},
	{"cmd/gateway/x.go", own + "audit", nil},
	{"internal/api/x.go", own + "audit", []string{"audit-only-in-cmd"}},
	{"internal/telemetry/x.go", own + "audit", []string{"audit-only-in-cmd"}},

	{"cmd/gateway/x.go", otel, nil},
	{"internal/telemetry/x.go", otel + "/sdk/trace", nil},
	{"internal/api/x.go", otel, []string{"opentelemetry"}},
	{"internal/gateway/x.go", otel + "/trace", []string{"opentelemetry"}},
	{"internal/providers/upstream/x.go", "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", []string{"opentelemetry"}},

	{"internal/api/x.go", gin, nil},
	{"internal/telemetry/x.go", gin, []string{"gin"}},
	{"internal/gateway/x.go", gin, []string{"gin"}},
	{"internal/telemetry/x.go", "github.com/gin-contrib/cors", []string{"gin"}},

	{"internal/unattended/x.go", redis, nil},
	{"internal/cache/x.go", redis, nil},
	{"internal/gateway/x_test.go", redis, nil},
	{"internal/gateway/x.go", redis, []string{"redis"}},
	{"internal/api/x.go", redis, []string{"redis"}},
	{"internal/providers/upstream/x.go", redis, []string{"redis"}},

	{"internal/sandbox/x.go", mini, nil},
	{"internal/unattended/x_test.go", mini, []string{"miniredis"}},
	{"internal/cache/x.go", mini, []string{"miniredis"}},

	{"internal/breaker/x.go", breaker, nil},
	{"internal/gateway/x.go", breaker, []string{"gobreaker"}},
	{"cmd/gateway/x.go", breaker, []string{"gobreaker"}},

	{"internal/callers/x.go", "github.com/coreos/go-oidc/v3/oidc", nil},
	{"internal/api/x.go", "github.com/coreos/go-oidc/v3/oidc", []string{"oidc"}},
	{"internal/gateway/x.go", "github.com/go-jose/go-jose/v4", []string{"oidc"}},
	{"internal/callers/x.go", "github.com/lestrrat-go/jwx/v3/jwt", []string{"test-support"}},
	{"cmd/gateway/x_test.go", "github.com/lestrrat-go/jwx/v3/jwt", nil},

	{"internal/unattended/x_test.go", own + "redistest", nil},
	{"internal/unattended/x.go", own + "redistest", []string{"test-support"}},
	{"internal/sandbox/x.go", own + "redistest", []string{"test-support"}},
	{"internal/gateway/x.go", own + "relay", []string{"test-support"}},
	{"internal/gateway/x_test.go", own + "relay", nil},
	{"internal/sandbox/x.go", own + "issuertest", []string{"test-support"}},
	{"internal/sandbox/x.go", own + "gatewaytest", []string{"test-support"}},
	{"internal/sandbox/x.go", own + "servertest", []string{"test-support"}},
	{"internal/sandbox/x.go", own + "prometheustest", []string{"test-support"}},
	{"internal/prometheustest/x.go", own + "servertest", nil},
	{"deploy/x_test.go", own + "prometheustest", nil},
	{"deploy/x_test.go", own + "gatewaytest", nil},
	{"deploy/x_test.go", "go.opentelemetry.io/otel/trace", []string{"opentelemetry"}},
	{"internal/gatewaytest/x.go", own + "sandbox", nil},
	{"deploy/x_test.go", own + "sandbox", nil},
	{"deploy/x.go", own + "sandbox", []string{"api-only-in-cmd"}},
	{"test/gateway/x_test.go", own + "sandbox", nil},
	{"test/gateway/x_test.go", adapters + "mypos/mypossim", nil},
	{"test/gateway/x.go", own + "sandbox", []string{"api-only-in-cmd"}},
	{"test/deploy/x_test.go", own + "gatewaytest", nil},
	{"test/deploy/x_test.go", "go.opentelemetry.io/otel/trace", []string{"opentelemetry"}},
	{"internal/issuertest/x.go", "github.com/lestrrat-go/jwx/v3/jwt", nil},
	{"internal/sandbox/x.go", adapters + "providertest", []string{"test-support"}},
	{"internal/providers/mypos/x.go", adapters + "providertest", []string{"adapters", "test-support"}},
	{"internal/sandbox/x.go", "net/http/httptest", []string{"test-support"}},
	{"internal/api/x.go", "github.com/getkin/kin-openapi/openapi3", []string{"test-support"}},
	{"internal/api/x_test.go", "github.com/getkin/kin-openapi/openapi3", nil},
	{"internal/redistest/x.go", "testing", nil},

	{"internal/api/x.go", "log/slog", nil},
	{"internal/api/x.go", "log", []string{"logging"}},

	{"internal/canonical/x_test.go", "github.com/bojanz/currency", nil},
	{"internal/api/x.go", "github.com/bojanz/currency", []string{"money"}},
	{"internal/providers/mypos/x.go", "github.com/shopspring/decimal", []string{"money"}},
}
