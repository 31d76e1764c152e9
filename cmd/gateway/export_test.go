package main

import (
	"context"
	"io"

	"ais-gateway/internal/telemetry"
)

// In the test's process a provider that is one ASPSP may have many aspsps entries, so that each
// trial of a test has its own breaker. Processes that tests start have the rule.
var _ = func() bool {
	for name, entry := range table {
		entry.OneASPSP = false
		table[name] = entry
	}
	return true
}()

// Run runs the service in this process until stop is called, and returns the URL of its API. It
// returns the error of a start that fails.
func Run(ctx context.Context, file string, logs io.Writer) (api string, stop func(), err error) {
	telemetry.SilenceStandardLog()
	c, err := table.Load(file)
	if err != nil {
		return "", nil, err
	}
	a, err := newApp(ctx, c, logs)
	if err != nil {
		return "", nil, err
	}
	ctx, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	return "http://" + a.server.Addr().String(), func() { end(); <-ended }, nil
}
