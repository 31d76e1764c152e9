package imports

// A rule lists the packages that the Go files of a directory may import, beyond the standard
// library. The packages of this module are named from its root. "*" matches one path element, and
// "/..." a package with all packages below it.
type rule struct {
	dir     string   // from the module's root; an exact name precedes a pattern
	code    []string // what all files may import
	test    []string // what tests may import as well, beyond test support and anyTest
	support bool     // test support: only tests and other test support import it, and it may import what they may
}

const (
	uuid       = "github.com/google/uuid"
	redis      = "github.com/redis/go-redis/v9/..."
	pkcs12     = "software.sslmate.com/src/go-pkcs12"
	oauth1     = "github.com/mastercard/oauth1-signer-go"
	yaml       = "github.com/goccy/go-yaml/..."
	adapters   = "internal/providers/*"
	simulators = "internal/providers/*/*"
)

// anyTest lists what every test may import.
var anyTest = []string{
	"testing/...", "net/http/httptest", "github.com/google/go-cmp/...", "pgregory.net/rapid", uuid, redis,
	"github.com/lestrrat-go/jwx/v3/...", "github.com/getkin/kin-openapi/...",
}

// restricted lists the packages of the standard library that need to be listed like all others.
var restricted = []string{
	"testing/...", "net/http/httptest", "log", "math/rand", "net/http/pprof", "runtime/pprof", "runtime/trace",
}

var rules = []rule{
	{dir: "api"},
	{
		dir: "cmd/gateway",
		code: []string{
			"api", "internal/accountkey", "internal/adapters", "internal/aggregation/...", "internal/api", "internal/audit", "internal/auth", "internal/cache", "internal/canonical",
			"internal/commandline", "internal/config", "internal/gateway", "internal/health", "internal/output", "internal/providers", adapters,
			"internal/recovery", "internal/sandbox", "internal/secretwatch", "internal/server", "internal/store",
			"internal/telemetry", "internal/unattended/...",
		},
		test: []string{simulators, "runtime/pprof"},
	},
	{dir: "deploy", code: []string{yaml}, test: []string{"internal/breaker", "internal/canonical", "internal/config"}},

	{dir: "internal/accountkey", code: []string{"internal/canonical"}},
	{
		dir: "internal/adapters",
		code: []string{
			"internal/canonical", "internal/config", "internal/providers", "internal/providers/upstream",
			"golang.org/x/net/http/httpproxy",
		},
		test: []string{adapters, simulators, "internal/providers/aspspsim", uuid},
	},
	{
		dir: "internal/api",
		code: []string{
			"internal/aggregation", "internal/api/...", "internal/auth", "internal/canonical", "internal/config", "internal/event", "internal/gateway",
			"internal/bulkhead", "internal/recovery", "internal/unattended", "github.com/gin-gonic/gin/...",
		},
		test: []string{"api", "internal/breaker", "internal/cache", "internal/providers", adapters, simulators},
	},
	{dir: "internal/api/render", code: []string{"internal/aggregation", "internal/canonical", "internal/config", "internal/gateway", "internal/unattended"}},
	{dir: "internal/aggregation", code: []string{"internal/canonical", "internal/gateway", "internal/unattended", uuid}},
	{
		dir: "internal/aggregation/repeat",
		code: []string{
			"internal/aggregation", "internal/aggregation/runner", "internal/cache", "internal/canonical", "internal/gateway",
			"internal/recovery", "internal/store/steps",
		},
	},
	{
		dir: "internal/aggregation/runner",
		code: []string{
			"internal/aggregation", "internal/bulkhead", "internal/canonical", "internal/config", "internal/event", "internal/gateway",
			"internal/providers", "internal/recovery", "internal/unattended", uuid,
		},
		test: []string{"internal/aggregation/repeat", "internal/breaker", "internal/bulkhead", "internal/cache", "internal/providers/upstream", "internal/store", adapters, simulators},
	},
	{dir: "internal/api/parse", code: []string{"internal/aggregation", "internal/api/jsonbody", "internal/canonical", "internal/gateway", uuid}},
	{dir: "internal/api/jsonbody", code: []string{"internal/canonical"}},
	{
		dir:  "internal/api/progress",
		code: []string{"internal/aggregation", "internal/api/render", "internal/canonical", "internal/event", "internal/gateway"},
	},
	{dir: "internal/audit", code: []string{"internal/canonical", "internal/event", "internal/output"}},
	{dir: "internal/breaker", code: []string{"internal/canonical", "internal/config", "github.com/sony/gobreaker/v2"}},
	{
		dir: "internal/cache",
		code: []string{
			"internal/accountkey", "internal/cache/seal", "internal/canonical", "internal/retryqueue", "internal/store", "internal/store/send",
			"internal/unattended", uuid, redis,
		},
		test: []string{"internal/config"},
	},
	{dir: "internal/cache/seal"},
	{
		dir: "internal/coalesce",
		code: []string{
			"internal/cache", "internal/canonical", "internal/recovery", "internal/retryqueue", "internal/store/steps", uuid,
		},
		test: []string{"internal/config", "internal/store", redis},
	},
	{
		dir: "internal/auth",
		code: []string{
			"internal/canonical", "internal/config", "internal/recovery",
			"github.com/coreos/go-oidc/v3/oidc", "github.com/go-jose/go-jose/v4", "golang.org/x/sync/singleflight",
			"golang.org/x/time/rate",
		},
	},
	{
		dir: "internal/canonical", code: []string{uuid, "golang.org/x/text/..."},
		test: []string{yaml, "github.com/bojanz/currency", "github.com/jacoelho/banking/iban"},
	},
	{dir: "internal/commandline"},
	{dir: "internal/config", code: []string{"internal/config/strict", uuid}},
	{dir: "internal/config/strict", code: []string{yaml}},
	{dir: "internal/event", code: []string{"internal/canonical"}},
	{
		dir: "internal/gateway",
		code: []string{
			"internal/breaker", "internal/cache", "internal/canonical", "internal/config", "internal/bulkhead", "internal/providers",
			"internal/coalesce", "internal/event", "internal/recovery", "internal/store/steps", "internal/unattended",
		},
		test: []string{"internal/aggregation", "internal/aggregation/runner", "internal/store", "internal/unattended/unitstats", adapters, simulators, uuid},
	},
	{
		dir: "internal/health",
		code: []string{
			"internal/audit", "internal/cache", "internal/config", "internal/output", "internal/providers/upstream",
			"internal/secretwatch", "internal/server", "internal/store",
		},
	},
	{dir: "internal/imports"},
	{dir: "internal/bulkhead"},
	{dir: "internal/output"},
	{dir: "internal/secretwatch", code: []string{"internal/config"}},
	{dir: "internal/recovery"},
	{dir: "internal/retryqueue", code: []string{"internal/recovery", "internal/store/steps"}},
	{dir: "internal/sandbox", code: []string{"internal/providers/aspspsim", simulators, uuid}},
	{dir: "internal/server", code: []string{"internal/canonical", "golang.org/x/net/netutil", "net/http/pprof"}},
	{dir: "internal/store", code: []string{"internal/config", "internal/store/send", "internal/store/steps", redis, "github.com/alicebob/miniredis/v2"}},
	{dir: "internal/store/send", code: []string{"internal/recovery", "internal/store/steps", redis}, test: []string{"internal/store"}},
	{dir: "internal/store/steps", code: []string{"internal/recovery"}},
	{
		dir: "internal/telemetry",
		code: []string{
			"internal/breaker", "internal/bulkhead", "internal/canonical", "internal/event", "internal/gateway",
			"internal/output", "internal/providers/upstream", "internal/store", "internal/telemetry/aggregations", "internal/telemetry/logs",
			"internal/telemetry/otelenv",
			"github.com/go-logr/logr", "github.com/prometheus/client_golang/prometheus/...",
			"go.opentelemetry.io/...",
			"log", // to take over what the standard library prints
		},
		test: []string{"internal/aggregation", "github.com/prometheus/client_model/go", "github.com/prometheus/common/..."},
	},
	{dir: "internal/telemetry/aggregations", code: []string{"internal/aggregation", "go.opentelemetry.io/otel/..."}},
	{dir: "internal/telemetry/logs", code: []string{"go.opentelemetry.io/otel/trace"}},
	{dir: "internal/telemetry/otelenv", code: []string{"golang.org/x/net/http/httpguts"}},
	{
		dir: "internal/unattended",
		code: []string{
			"internal/canonical", "internal/config", "internal/retryqueue", "internal/store", "internal/store/send", "internal/store/steps",
			"internal/unattended/unitstats", uuid, redis,
		},
		test: []string{"golang.org/x/text/unicode/norm"},
	},
	{dir: "internal/unattended/unitstats", code: []string{"internal/config", "internal/retryqueue", "internal/store", redis}},

	// Every adapter and every simulator, also one that is added later.
	{dir: "internal/providers", code: []string{"internal/canonical", uuid}},
	{
		dir: adapters,
		code: []string{
			"internal/canonical", "internal/config", "internal/providers", "internal/providers/adapter", "internal/providers/adapterconfig",
			"internal/providers/berlingroup/dialect", "internal/providers/httpsig", "internal/providers/paging", oauth1, pkcs12,
		},
		test: []string{"./...", "internal/providers/aspspsim", "internal/providers/upstream", "internal/unattended", yaml},
	},
	{
		dir:  "internal/providers/berlingroup/dialect",
		code: []string{"internal/canonical", "internal/providers", "internal/providers/adapter"}, test: []string{uuid},
	},
	{
		dir:  "internal/providers/adapterconfig",
		code: []string{"internal/canonical", "internal/config", "internal/config/strict", "internal/providers", "golang.org/x/net/http/httpguts"},
		test: []string{"internal/providers/adapter"},
	},
	{dir: "internal/providers/paging", code: []string{"internal/canonical", "internal/providers"}, test: []string{"internal/providers/adapter"}},
	{dir: "internal/providers/adapter", code: []string{"internal/canonical", "internal/providers"}, test: []string{uuid}},
	{
		dir: "internal/providers/httpsig", code: []string{"internal/config", "internal/providers/adapterconfig"},
		test: []string{"internal/providers/aspspsim"},
	},
	{dir: simulators, code: []string{"internal/providers/aspspsim", uuid}, test: []string{oauth1}},
	{dir: "internal/providers/aspspsim", code: []string{uuid}},
	{
		dir:  "internal/providers/upstream",
		code: []string{"internal/canonical", "internal/event", "internal/providers", "internal/unattended"},
		test: []string{"internal/config", "internal/providers/adapter", "golang.org/x/net/..."},
	},

	{dir: "internal/providers/providertest/faultproxy", support: true},
	{dir: "internal/providers/providertest/requestcheck", support: true, code: []string{"internal/canonical", "internal/providers"}},
	{
		dir: "internal/providers/providertest", support: true,
		code: []string{
			"internal/canonical", "internal/config", "internal/providers", "internal/providers/aspspsim",
			"internal/providers/upstream", "internal/unattended",
		},
	},
	{dir: "internal/providers/responsetest", support: true},
	{dir: "internal/gatewaytest", support: true, code: []string{"internal/sandbox"}},
	{dir: "internal/issuertest", support: true},
	{dir: "internal/prometheustest", support: true},
	{dir: "internal/redistest", support: true, code: []string{"internal/config", "internal/store"}},
	{dir: "internal/certtest", support: true},
	{dir: "internal/crashproxy", support: true},
	{dir: "internal/servertest", support: true},

	{dir: "test/e2e", test: []string{"internal/sandbox", simulators}},
	{dir: "test/compare", test: []string{"internal/sandbox", simulators}},
	{dir: "test/compare/peer", support: true},
	{dir: "test/deploy", test: []string{"deploy", "internal/canonical", "internal/sandbox", adapters, simulators}},
	{
		dir: "test/gateway",
		test: []string{
			"internal/cache", "internal/canonical", "internal/config", "internal/sandbox", "internal/store", "internal/unattended", adapters,
			simulators, pkcs12,
			"github.com/Shopify/toxiproxy/v2", "github.com/rs/zerolog", "github.com/prometheus/common/...",
		},
	},
}

// reasons say why an import is not allowed where no rule lists it. The first that matches is
// reported.
var reasons = []struct{ imported, why string }{
	{"internal/api/...", "only cmd imports the API"},
	{"internal/sandbox", "only cmd and tests import the sandbox"},
	{"internal/adapters", "only cmd opens adapters"},
	{"internal/health", "only cmd has all the parts that are checked"},
	{"internal/gateway", "only the API and cmd import the gateway"},
	{"internal/audit", "the API reports what to record; only cmd opens the output of records"},
	{"internal/providers/upstream", "only cmd and internal/adapters make transports; an adapter uses providers.Client"},
	{"internal/providers/*/...", "only cmd imports adapters; an adapter imports no other adapter and no simulator"},
	{"go.opentelemetry.io/...", "only internal/telemetry uses OpenTelemetry"},
	{"github.com/gin-gonic/...", "only internal/api uses gin"},
	{"github.com/gin-contrib/...", "only internal/api uses gin"},
	{"github.com/redis/...", "only the counter, the cache and the store use go-redis"},
	{"github.com/alicebob/miniredis/...", "only internal/store uses miniredis; tests use a real Redis, see internal/redistest"},
	{"github.com/sony/gobreaker/...", "only internal/breaker uses gobreaker"},
	{"github.com/coreos/go-oidc/...", "only internal/auth verifies tokens"},
	{"github.com/go-jose/...", "only internal/auth verifies tokens"},
	{"github.com/lestrrat-go/jwx/...", "only tests import it: they sign with another library than the gateway verifies with"},
	{"github.com/getkin/kin-openapi/...", "only tests import it: its errors quote what they read"},
	{"github.com/shopspring/decimal", "amounts are canonical.Amount"},
	{"github.com/bojanz/currency", "amounts are canonical.Amount"},
	{"pgregory.net/rapid", "only tests import it"},
	{"github.com/google/go-cmp/...", "only tests import it"},
	{"testing/...", "only tests import it"},
	{"net/http/httptest", "only tests import it"},
	{"log", "log/slog is used"},
	{"net/http/pprof", "only internal/server serves profiles, on the admin address"},
	{"runtime/pprof", "labels in profiles could contain personal data"},
	{"runtime/trace", "tasks and messages in traces could contain personal data"},
	{"math/rand", "math/rand/v2 is used: every package can seed the source of math/rand"},
}
