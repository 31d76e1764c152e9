package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// TestGOGC: the gateway has its own default of GOGC, and the environment has priority.
func TestGOGC(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	for want, env := range map[string][]string{"200": nil, "50": {"GOGC=50"}} {
		p := gatewaytest.Serve(t, w.ConfigFile, env...)
		if _, body := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics"); !strings.Contains(body, "\ngo_config_gogc_percent "+want+"\n") {
			t.Errorf("with %q, GOGC is not %s", env, want)
		}
	}
}
