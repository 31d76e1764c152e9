package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ais-gateway/internal/commandline"
	"ais-gateway/internal/config"
	"ais-gateway/internal/output"
	"ais-gateway/internal/recovery"
)

const (
	// responseMargin is what a response may take in addition to the calls to providers.
	responseMargin = 10 * time.Second
	// flushTimeout limits the last export of telemetry when the process ends. It is part of
	// responseMargin.
	flushTimeout = 5 * time.Second
)

// serveCommand runs the service until ctx ends and the requests in progress have ended. It logs its
// errors, and returns errLogged after an error.
func serveCommand(ctx context.Context, l *commandline.Line) error {
	file, err := parseConfig(l)
	if err != nil {
		return err
	}
	ignoreSignals()
	c, err := table.Load(file)
	if err != nil {
		return logFailure(l.Stdout, err)
	}
	a, err := newApp(ctx, c, l.Stdout)
	if err != nil {
		return logFailure(l.Stdout, err)
	}
	defer a.reloadOnHangup()()
	return a.run(ctx)
}

// run serves until ctx ends, then drains: it reports that it will stop, later accepts no new
// requests, and waits for the requests in progress and for counted calls whose callers have left.
// It returns errLogged if a server failed, or if something was not completed in time.
//
// The order of the end matters. The API closes first, so that no new call begins. The gateway then
// finishes counted calls and stores their results, and the counter writes what Redis must still
// receive, so Redis stays open until both are done. The admin server closes after them, so that
// /readyz reports the drain. Records and log lines are written last.
func (a *app) run(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx)) // requests are served after ctx has ended, too
	defer stopBackground()
	for _, task := range []func(context.Context){a.health.Run, a.secrets.Run, a.auth.Run} {
		go func() {
			defer recovery.Recover(background, a.log) // a panic ends this task only
			task(background)
		}()
	}
	a.log.InfoContext(ctx, "serving", "version", buildVersion(), "address", a.server.Addr().String(), "admin_address", a.server.AdminAddr().String())
	err := a.server.Serve(ctx)
	// This leaves time for the last writes and exports, which have their own timeouts.
	shutdown, cancel := context.WithTimeout(context.Background(), a.writeTimeout-flushTimeout-2*output.CloseTimeout)
	defer cancel()
	a.aggregator.EndWaits()
	err = errors.Join(err, a.server.ShutdownAPI(shutdown), a.aggregator.Drain(shutdown), a.gateway.Drain(shutdown),
		a.gateway.Counter.Drain(shutdown), a.server.ShutdownAdmin(shutdown))
	stopBackground()
	a.store.Close()
	err = errors.Join(err, a.audit.Close())
	if err != nil {
		a.log.Error("stopped with an error", "cause", err.Error())
		err = errLogged
	} else {
		a.log.Info("stopped")
	}
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if a.telemetry.Shutdown(flush) != nil {
		a.log.Warn("telemetry was lost") // not an error of the service
	}
	_ = a.logQueue.Close() // nor is an output that is not read
	return err
}

// ignoreSignals ignores signals that would end the process although they do not mean that: the
// reader of the log is gone (SIGPIPE), or log files are to be reopened, as other programs do.
func ignoreSignals() {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
}

// reloadOnHangup reads the secret files at each SIGHUP, in addition to every second, until stop is
// called. Then SIGHUP is ignored.
func (a *app) reloadOnHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			a.secrets.ReloadNow()
		}
	}()
	return func() {
		signal.Ignore(syscall.SIGHUP)
		close(hangups)
	}
}

// logFailure logs in one JSON line why the gateway did not start, with every fault of the
// configuration, and returns errLogged. It has its own logger, because the configured one is not
// open.
func logFailure(to io.Writer, err error) error {
	q := output.New(output.Config{To: to, Room: outputRoom})
	log := slog.New(slog.NewJSONHandler(q.Writer(nil, nil), nil))
	var faults config.Faults
	if errors.As(err, &faults) {
		log.Error("start failed", "faults", faults.Texts())
	} else {
		log.Error("start failed", "cause", err.Error())
	}
	_ = q.Close()
	return errLogged
}
