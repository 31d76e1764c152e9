package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// Risky values are reported by `gateway check`, in the log at the start, and by /readyz.
func TestRiskyValuesAreReported(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	file := gatewaytest.ReplaceInConfig(t, w, "name: Wood Bank,", "name: Wood Bank, unattended: {limit: 400, window: 24m},")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), `apiKeyFile: "`)
	key, _, _ = strings.Cut(key, `"`)
	if err := os.Chmod(key, 0o602); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"providers.mypos.apiKeyFile (line 9): file can be written by every local user: remove this permission (chmod o-w)",
		"aspsps[0].unattended.limit (line 13): above 4 is only allowed if the ASPSP has agreed to it",
		"aspsps[0].unattended.window (line 13): below 24h is only allowed if the ASPSP has agreed to it",
	}
	check := exec.Command(gatewaytest.Binary(), "check", "--config", file, "--print")
	var stdout, stderr strings.Builder
	check.Stdout, check.Stderr = &stdout, &stderr
	if err := check.Run(); err != nil || stderr.String() != "warning: "+strings.Join(want, "\nwarning: ")+"\n" || strings.Contains(stdout.String(), "warning") {
		t.Errorf("check: %v\n%s", err, stderr.String())
	}
	p := gatewaytest.Serve(t, file)
	_, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/readyz")
	var ready struct{ Warnings []string }
	if err := json.Unmarshal([]byte(body), &ready); err != nil || !slices.Equal(ready.Warnings, want) {
		t.Errorf("readyz: %s", body)
	}
	logged := records(p.Stdout.String(), func(r record) bool { return r.Msg == "risky configuration" })
	if len(logged) != 1 {
		t.Errorf("log: %v", logged)
	}
}
