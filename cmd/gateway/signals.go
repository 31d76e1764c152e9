package main

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoreSignals keeps signals from ending the process that say nothing of its end: that the log's reader is gone, or, to
// other programs, that they are to open their log anew.
func ignoreSignals() {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
}

// reloadOnHangup reads the files of secrets at each SIGHUP, beside every second, until stop is called.
func (p *program) reloadOnHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			p.renewal.Now()
		}
	}()
	return func() {
		signal.Ignore(syscall.SIGHUP)
		close(hangups)
	}
}
