package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"ais-gateway/internal/commandline"
	"ais-gateway/internal/sandbox"
)

// sandboxCommand starts the sandbox with the options of the command line. It returns the errors of
// Line.Parse and runSandbox, and commandline.ErrUsage for an invalid --redis.
func sandboxCommand(ctx context.Context, l *commandline.Line) error {
	o := sandbox.Options{}
	l.StringVar(&o.Address, "address", "127.0.0.1:0", "")
	l.StringVar(&o.AdminAddress, "admin-address", "127.0.0.1:0", "")
	demo, redis := l.Bool("demo", false, ""), l.String("redis", "", "")
	if err := l.Parse(); err != nil {
		return err
	}
	if *redis != "" {
		if *demo { // the tour needs a Redis without counted calls
			return l.Refuse("--redis cannot be used with --demo")
		}
		if host, port, err := net.SplitHostPort(*redis); err != nil || host == "" || port == "" {
			return l.Refuse("--redis must be HOST:PORT")
		}
		o.Redis = fmt.Sprintf("{mode: standalone, addresses: [%q]}", *redis)
	}
	return runSandbox(ctx, o, *demo, l.Stdout, l.Stderr)
}

// runSandbox runs the gateway with simulators of all providers, without any setup. With demo it
// runs a tour of all calls and returns the error of the first step that fails; without, it prints a
// guide and runs until ctx ends.
func runSandbox(ctx context.Context, o sandbox.Options, demo bool, stdout, stderr io.Writer) error {
	ignoreSignals()
	box, err := sandbox.Start(ctx, o)
	if err != nil {
		return err
	}
	defer box.Stop()
	c, err := table.Load(box.ConfigFile)
	if err != nil {
		return err
	}
	logs := stderr
	if demo {
		logs = io.Discard // they would interrupt the tour
	}
	a, err := newApp(ctx, c, logs)
	if err != nil {
		return err
	}
	api := sandbox.BaseURL(a.server.Addr())
	if !demo {
		box.Guide(stdout, api, sandbox.BaseURL(a.server.AdminAddr()))
		return a.run(ctx)
	}
	touring, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.run(touring) }()
	fmt.Fprintln(stdout, "A tour of the AIS Gateway: four simulated providers, nine banks and an embedded Redis in one process.")
	err = box.Tour(touring, stdout, api)
	end()
	if stopped := <-ended; err == nil {
		err = stopped
	}
	return err
}
