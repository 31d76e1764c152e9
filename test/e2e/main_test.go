package e2e_test

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
