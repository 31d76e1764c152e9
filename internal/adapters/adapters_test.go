package adapters_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/adapters"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/mypos"
)

var table = adapters.Table{"mypos": {Open: mypos.Open, OneASPSP: true}}

// A fault in the keys that all providers have must not hide the faults of an adapter's own keys.
func TestLoadReturnsAllFaults(t *testing.T) {
	t.Parallel()
	const text = `redis: {mode: embedded}
clients:
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read]}
providers:
  mypos: BASE
  other: {baseURL: "https://h"}
aspsps:
  - {id: 4f1e2d3c-0000-4000-8000-000000000001, name: A, provider: mypos}
`
	const own, missing = "providers.mypos.apiKey (line 6)", "providers.mypos.apiKeyFile (line 6)"
	for _, tt := range []struct {
		name, provider string
		want           []string
	}{
		{"unparsable", `{baseURL: "https://h\x7f", apiKey: x}`, []string{missing, "providers.mypos.baseURL (line 6)", own}},
		{"port", `{baseURL: "https://h:x", apiKey: x}`, []string{missing, "providers.mypos.baseURL (line 6)", own}},
		{"anchor", `&x {baseURL: "http://localhost", apiKey: x}`, []string{"line 6", missing, own}},
		{"alias", `{baseURL: "http://localhost", apiKeyFile: *x, apiKey: x}`, []string{"line 6", own}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			if err := os.WriteFile(file, []byte(strings.Replace(text, "BASE", tt.provider, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := table.Load(file)
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error is %v, want Faults", err)
			}
			var got []string
			for _, fault := range faults {
				got = append(got, strings.TrimSuffix(fault.String(), ": "+fault.Detail))
			}
			if diff := cmp.Diff(append(tt.want, "providers.other (line 7)"), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}
