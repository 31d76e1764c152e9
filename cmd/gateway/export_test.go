package main

import (
	"context"
	"io"

	"ais-gateway/internal/telemetry"
)

// In this process a provider that is one bank may have many ASPSPs, so that a test can give each trial a breaker of its own.
// Processes that tests start have the rule.
var _ = func() bool {
	for name, entry := range table {
		entry.OneASPSP = false
		table[name] = entry
	}
	return true
}()

// Run runs the service in this process until stop is called, and says where it is.
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
