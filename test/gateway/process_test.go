package gateway_test

import (
	"os"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

// Paths of Wood Bank and, below an ASPSP, of balances.
const (
	woodPath     = "/v1/aspsps/" + mastercardsim.WoodBank
	balancesPath = "/accounts/" + mastercardsim.Account + "/balances"
)

// process is a running gateway, with methods for the tests of this package.
type process struct{ *gatewaytest.Process }

// start runs the gateway with arguments until the test ends.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return &process{gatewaytest.Start(t, env, args...)}
}

// serve runs the service with a configuration, and waits until it listens.
func serve(t *testing.T, config string, env ...string) *process {
	t.Helper()
	return &process{gatewaytest.Serve(t, config, env...)}
}

// writeFile writes a file that only its owner can read.
func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
