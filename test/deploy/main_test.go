package deploy_test

import (
	"os"
	"testing"

	"ais-gateway/internal/gatewaytest"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }
