package main

import (
	"context"
	"fmt"
	"io"

	"ais-gateway/internal/sandbox"
)

// runSandbox runs the gateway with simulators of both providers and nothing to set up. With demo it leads a tour
// and ends; else it says what can be called and runs until ctx ends.
func runSandbox(ctx context.Context, o sandbox.Options, demo bool, stdout, stderr io.Writer) error {
	world, err := sandbox.Start(ctx, o)
	if err != nil {
		return err
	}
	defer world.Stop()
	c, err := load(world.ConfigFile)
	if err != nil {
		return err
	}
	logs := stderr
	if demo {
		logs = io.Discard // the tour is for a reader
	}
	p, err := assemble(ctx, c, logs)
	if err != nil {
		return err
	}
	api := "http://" + p.apiAddress()
	if !demo {
		world.Guide(stdout, api, "http://"+p.adminAddress())
		return p.run(ctx)
	}
	touring, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.run(touring) }()
	fmt.Fprintln(stdout, "A tour of the AIS Gateway: one process with two providers, four banks and a Redis of its own.")
	err = world.Tour(touring, stdout, api)
	end()
	if stopped := <-ended; err == nil {
		err = stopped
	}
	return err
}
