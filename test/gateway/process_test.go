package gateway_test

import (
	"os"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

const (
	wood     = "/v1/aspsps/" + mastercardsim.WoodBank
	balances = "/accounts/" + mastercardsim.Account + "/balances"
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

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
