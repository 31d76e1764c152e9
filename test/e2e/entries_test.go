package e2e_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A provider that is one ASPSP may have one aspsps entry, because two entries would be counted
// separately. Others may have several.
func TestOneASPSPAllowsOneEntry(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	const entry = "name: myPOS, provider: mypos}"
	file := gatewaytest.ReplaceInConfig(t, w, entry, entry+"\n  - {id: 4f1e2d3c-0000-4000-8000-000000000901, name: Second, provider: mypos}"+
		"\n  - {id: 4f1e2d3c-0000-4000-8000-000000000902, name: Third, provider: mypos}")
	const detail = "this provider is one bank and allows one entry; it already has aspsps[3]"
	for _, command := range []string{"check", "serve"} {
		p := gatewaytest.Start(t, nil, command, "--config", file)
		if code := p.Wait(); code != 1 {
			t.Fatalf("%s ends with %d", command, code)
		}
		output := p.Stdout.String() + p.Stderr.String()
		for i := 4; i < 6; i++ {
			place := fmt.Sprintf("aspsps[%d].provider (line ", i)
			if strings.Count(output, place) != 1 || strings.Count(output, detail) != 2 {
				t.Errorf("%s: no single fault at entry %d:\n%s", command, i, output)
			}
		}
		if strings.Count(output, ".provider (line ") != 2 {
			t.Errorf("%s: more faults than the entries after the first:\n%s", command, output)
		}
	}
	if out, err := exec.Command(gatewaytest.Binary(), "check", "--config", w.ConfigFile).CombinedOutput(); err != nil {
		t.Errorf("several banks behind one provider: %v\n%s", err, out)
	}
}
