package adapters_test

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"ais-gateway/internal/adapters"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapterconfig"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mypos"
	"ais-gateway/internal/providers/obie"
	"ais-gateway/internal/providers/obie/obiesim"
	"ais-gateway/internal/providers/upstream"
)

var table = adapters.Table{"mypos": {Open: mypos.Open, OneASPSP: true}, "many": {Open: openMany, OwnBaseURLs: true}}

// openMany opens an adapter whose ASPSPs have options.
func openMany(decode func(any) error, env providers.Env) (providers.Provider, error) {
	var faults config.Faults
	if err := decode(&struct{}{}); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	for _, aspsp := range env.ASPSPs {
		var o struct {
			BaseURL string      `yaml:"baseURL"`
			File    config.File `yaml:"keyFile"`
		}
		if err := aspsp.Options(&o); err != nil {
			var more config.Faults
			if !errors.As(err, &more) {
				return nil, err
			}
			faults = append(faults, more...)
		}
		adapterconfig.BaseURL(env, aspsp, o.BaseURL, &faults)
	}
	return nil, faults.Err()
}

// TestOptions tests faults of the options of entries, in the file's lines.
func TestOptions(t *testing.T) {
	t.Parallel()
	const text = `redis: {mode: embedded}
clients:
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read]}
providers:
  mypos: {apiKeyFile: FILE}
  many: {}
aspsps:
  - {id: 4f1e2d3c-0000-4000-8000-000000000001, name: A, provider: mypos,
     options: {x: 1}}
  - id: 4f1e2d3c-0000-4000-8000-000000000002
    name: B
    provider: many
  - id: 4f1e2d3c-0000-4000-8000-000000000003
    name: C
    provider: many
    options:
      baseURL: https://bank.example
      keyFile: missing
      unknown: 5
  - id: 4f1e2d3c-0000-4000-8000-000000000004
    name: D
    provider: many
    options: {baseURL: "http://bank.example", keyFile: FILE}
  - {id: 4f1e2d3c-0000-4000-8000-000000000005, name: E, provider: many, options: 7}
`
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "gateway.yaml")
	for name, content := range map[string]string{key: "k", file: strings.ReplaceAll(text, "FILE", key)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := table.Load(file)
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %v, want Faults", err)
	}
	want := []string{
		"providers.mypos.baseURL (line 6): is missing",
		"aspsps[0].options (line 10): this provider has no options",
		"aspsps[1].options.baseURL (line 11): is missing: neither the ASPSP nor its provider has a baseURL",
		"aspsps[2].options.keyFile (line 19): file does not exist (relative paths start at the working directory)",
		"aspsps[2].options.unknown (line 20): unknown key; known keys: baseURL, keyFile",
		"aspsps[3].options.baseURL (line 24): must be https (http only for loopback addresses)",
		"aspsps[4].options (line 25): must be a mapping (key: value)",
		"aspsps[4].options.baseURL (line 25): is missing: neither the ASPSP nor its provider has a baseURL",
	}
	if diff := cmp.Diff(want, faults.Texts()); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	var printed strings.Builder
	if err := c.Print(&printed); err != nil || !strings.Contains(printed.String(), "options:\n") || !strings.Contains(printed.String(), "keyFile: "+key) {
		t.Errorf("the options are not printed: %v\n%s", err, printed.String())
	}
}

// TestSetOfASPSPsWithOptions tests that the capabilities and requirements of an ASPSP come from its
// current adapter, which also makes the calls, and that the files of its options are watched.
func TestSetOfASPSPsWithOptions(t *testing.T) {
	t.Parallel()
	const elm, kingfisher = "4f1e2d3c-0000-4000-8000-000000000201", "4f1e2d3c-0000-4000-8000-000000000301"
	callLog := aspspsim.NewCallLog(time.Now)
	bg := httptest.NewServer(berlingroupsim.New(berlingroupsim.Config{Log: callLog, Banks: []berlingroupsim.Bank{
		{ASPSP: elm, RequireToken: true, Headers: map[string]string{"X-Key": "second"}},
	}}))
	t.Cleanup(bg.Close)
	uk := httptest.NewServer(obiesim.New(obiesim.Config{Log: callLog, Banks: []obiesim.Bank{{ASPSP: kingfisher, Bulk: true}}}))
	t.Cleanup(uk.Close)
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "gateway.yaml")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(key, "first")
	write(file, `redis: {mode: embedded}
clients:
  apiKeys:
    - {name: a, sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc, scopes: [accounts:read]}
providers: {berlingroup: {}, obie: {baseURL: "`+uk.URL+`"}}
aspsps:
  - {id: `+elm+`, name: A, provider: berlingroup, options: {baseURL: "`+bg.URL+`", withBalance: true, requireToken: true, headerFiles: {X-Key: `+key+`}}}
  - {id: `+kingfisher+`, name: B, provider: obie, options: {allBalances: true}}
`)
	table := adapters.Table{
		"berlingroup": {Open: berlingroup.Open, OwnBaseURLs: true}, "obie": {Open: obie.Open, OwnBaseURLs: true},
	}
	c, err := table.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	set, faults := table.Open(c, func(u upstream.Config) *upstream.Transport { return upstream.New(u) })
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if !slices.ContainsFunc(set.Files("berlingroup"), func(f config.File) bool { return f.Path() == key }) {
		t.Error("the file of an option is not watched")
	}
	q := canonical.Query{
		ASPSP: elm, Consent: berlingroupsim.GoodConsent, Token: berlingroupsim.GoodToken, RequestID: uuid.NewString(),
		PSU: &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")},
	}
	lister := set.Provider("berlingroup").(providers.ListerWithBalances)
	if _, err := lister.AccountsWithBalances(t.Context(), q); err == nil {
		t.Error("the bank accepts the first key")
	}
	write(key, "second")
	now, err := c.Reload()
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Reload("berlingroup", now); err != nil {
		t.Fatal(err)
	}
	if all, err := lister.AccountsWithBalances(t.Context(), q); err != nil || len(all) != 3 || all[0].Balances == nil {
		t.Errorf("with the second key: %d accounts, %v", len(all), err)
	}
	q.ASPSP, q.Consent, q.Token = kingfisher, obiesim.GoodConsent, canonical.Secret(obiesim.Token(obiesim.GoodConsent))
	if all, err := set.Provider("obie").(providers.AllBalancesReader).AllBalances(t.Context(), q); err != nil || len(all) != 3 {
		t.Errorf("all balances of %d accounts, %v", len(all), err)
	}
	for _, tt := range []struct {
		provider, aspsp string
		can             providers.Capabilities
		needs           providers.Requirements
	}{
		{"berlingroup", elm, providers.Capabilities{ListWithBalances: true}, providers.Requirements{Token: true}},
		{"obie", kingfisher, providers.Capabilities{AllBalances: true}, providers.Requirements{Token: true}},
		{"berlingroup", kingfisher, providers.Capabilities{}, providers.Requirements{}},
	} {
		p := set.Provider(tt.provider)
		if can, needs := providers.CapabilitiesOf(p, tt.aspsp), providers.RequirementsOf(p, tt.aspsp); can != tt.can || needs != tt.needs {
			t.Errorf("%s, %s: %+v, %+v", tt.provider, tt.aspsp, can, needs)
		}
	}
}

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
