package config_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
)

const aspspLine = "    provider: p\n"

// Values that are allowed but risky are warnings: keeping the legal limit is the responsibility of
// the operator.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, old, new string
		want           []string // path and line of each
	}{
		{"no warning", "", "", nil},
		{"the legal limit", aspspLine, aspspLine + "    unattended: {limit: 4, window: 24h}\n", nil},
		{"stricter values", aspspLine, aspspLine + "    unattended: {limit: 0, window: 25h}\n", nil},
		{"limit", aspspLine, aspspLine + "    unattended: {limit: 5}\n", []string{"aspsps[0].unattended.limit (line 12)"}},
		{"a much higher limit", aspspLine, aspspLine + "    unattended: {limit: 400}\n", []string{"aspsps[0].unattended.limit (line 12)"}},
		{"window", aspspLine, aspspLine + "    unattended: {window: 23h59m59s}\n", []string{"aspsps[0].unattended.window (line 12)"}},
		{"minutes instead of hours", aspspLine, aspspLine + "    unattended:\n      limit: 40\n      window: 24m\n", []string{"aspsps[0].unattended.limit (line 13)", "aspsps[0].unattended.window (line 14)"}},
		{"private addresses", aspspLine, aspspLine + "psu: {allowPrivateIP: true}\n", []string{"psu.allowPrivateIP (line 12)"}},
		{"plain HTTP on a network address", "redis:", "server: {address: '10.1.2.3:80'}\nredis:", []string{"server.address (line 1)"}},
		{"plain HTTP on all addresses", "redis:", "server: {address: ':8080'}\nredis:", []string{"server.address (line 1)"}},
		{"plain HTTP on all IPv6 addresses", "redis:", "server: {address: '[::]:8080'}\nredis:", []string{"server.address (line 1)"}},
		{"plain HTTP on a name", "redis:", "server: {address: 'gateway:8080'}\nredis:", []string{"server.address (line 1)"}},
		{"plain HTTP on loopback", "redis:", "server: {address: '[::1]:8080'}\nredis:", nil},
		{"plain HTTP on localhost", "redis:", "server: {address: 'localhost:8080'}\nredis:", nil},
		{"profiles", "redis:", "server: {profiling: true, adminAddress: ':9090'}\nredis:", nil},
		{"an embedded Redis and a real provider", "http://localhost:9000", "https://bank.example", []string{"redis.mode (line 1)"}},
		{
			"all, in the order of the file", "redis: {mode: embedded}", "psu: {allowPrivateIP: true}\nserver:\n  address: ':1'\nredis: {mode: embedded}",
			[]string{"psu.allowPrivateIP (line 1)", "server.address (line 3)"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, w := range mustRead(t, strings.Replace(minimal, tt.old, tt.new, 1)).Warnings() {
				got = append(got, strings.TrimSuffix(w.String(), ": "+w.Detail))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// Warnings of Warn have lines, and are sorted together with the others.
func TestWarn(t *testing.T) {
	t.Parallel()
	c := mustRead(t, minimal+"psu: {allowPrivateIP: true}\n")
	c.Warn("providers.p.baseURL", "is slow")
	got := c.Warnings()
	if len(got) != 2 || got[0].String() != "providers.p.baseURL (line 7): is slow" || got[1].Path != "psu.allowPrivateIP" {
		t.Errorf("warnings:\n%v", got)
	}
}

// Each file that every local user can write to is reported by its key, including files of adapters
// and the configuration file. Its content is not reported.
func TestWritableFiles(t *testing.T) {
	t.Parallel()
	pair := certtest.CA(t, "own")
	dir := writeFiles(t, map[string]string{"tls.crt": pair.PEM, "tls.key": pair.KeyPEM, "password": "Kanarienvogel", "cache": keyLine(1), "gateway.yaml": ""})
	text := "server:\n  tls:\n    certificateFile: " + dir + "/tls.crt\n    keyFile: " + dir + "/tls.key\n" +
		strings.NewReplacer("mode: embedded", "mode: standalone, passwordFile: "+dir+"/password", "http://localhost:9000", "http://localhost:9000\n    caFile: "+dir+"/tls.crt\n    secretFile: "+dir+"/password").Replace(minimal) +
		"cache: {encryptionKeyFile: " + dir + "/cache}\n"
	if err := os.WriteFile(dir+"/gateway.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode][]string{
		0o664: nil,
		0o602: {"cache.encryptionKeyFile", "providers.p.caFile", "providers.p.secretFile", "redis.passwordFile", "server.tls.certificateFile", "server.tls.keyFile", dir + "/gateway.yaml"},
	} {
		for _, name := range []string{"tls.crt", "tls.key", "password", "cache", "gateway.yaml"} {
			if err := os.Chmod(dir+"/"+name, mode); err != nil {
				t.Fatal(err)
			}
		}
		c, err := config.Load(dir + "/gateway.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // an adapter may be opened again
			var settings struct {
				SecretFile config.File `yaml:"secretFile"`
			}
			if err := c.Decoder("p")(&settings); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, w := range c.Warnings() {
			got = append(got, w.Path)
			if w.Detail != "file can be written by every local user: remove this permission (chmod o-w)" || (w.Line == 0) != (w.Path == dir+"/gateway.yaml") {
				t.Errorf("warning %v", w)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mode %o (-want +got):\n%s", mode, diff)
		}
	}
}

// An address that is not a loopback address is safe with TLS.
func TestTLSNeedsNoWarning(t *testing.T) {
	t.Parallel()
	certificate, key := certtest.CA(t, "own").Write()
	c := mustRead(t, "server: {address: ':8443', tls: {certificateFile: "+certificate+", keyFile: "+key+"}}\n"+minimal)
	if got := c.Warnings(); len(got) > 0 {
		t.Errorf("warnings:\n%v", got)
	}
}

// The sandbox's key is refused if an ASPSP has a base URL beyond loopback.
func TestSandboxKeyOfRealASPSP(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("sandbox-key"))
	for base, accepted := range map[string]bool{"http://localhost:9000/elm": true, "https://bank.example": false} {
		text := strings.Replace(minimal, "a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc", hex.EncodeToString(sum[:]), 1)
		text += "    options: {baseURL: '" + base + "', other: 1}\n"
		if _, err := config.Read([]byte(text)); (err == nil) != accepted {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// Easily guessed keys are refused by their hash, because the file does not contain the key.
func TestWellKnownKeys(t *testing.T) {
	t.Parallel()
	const base = "http://localhost:9000"
	for _, tt := range []struct {
		name, key, base string
		words           string // of the fault; "" for none
	}{
		{"empty", "", base, "empty key"},
		{"a line break", "\n", base, "well-known"},
		{"a word", "test", base, "well-known"},
		{"a word with a line break", "changeme\n", base, "well-known"},
		{"a word in capitals", "SECRET", base, "well-known"},
		{"from the documentation", "payments-team", base, "well-known"},
		{"of the sandbox, for real providers", "sandbox-key", "https://bank.example", "well-known"},
		{"of the sandbox, in a sandbox", "sandbox-key", base, ""},
		{"random", "Zk9yIGEgdGVzdCBvbmx5Cg", base, ""},
	} {
		for _, upper := range []bool{false, true} {
			sum := sha256.Sum256([]byte(tt.key))
			digits := hex.EncodeToString(sum[:])
			if upper {
				digits = strings.ToUpper(digits)
			}
			text := strings.NewReplacer("a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc", "'"+digits+"'", base, tt.base).Replace(minimal)
			_, err := config.Read([]byte(text))
			if tt.words == "" {
				if err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				continue
			}
			faults := faultsOf(t, err)
			if len(faults) != 1 || faults[0].Path != "clients.apiKeys[0].sha256" || !strings.Contains(faults[0].Detail, tt.words) || strings.Contains(err.Error(), digits) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}
