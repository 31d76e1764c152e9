package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/server"
	"ais-gateway/internal/telemetry"
)

// openFilesInterval is the minimum time between two log lines about a lack of open files. The metric counts each case.
const openFilesInterval = 10 * time.Second

// openFiles reports that the limit of open files of the process or the machine is reached: each socket is one.
type openFiles struct {
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	now       func() time.Time

	mu         sync.Mutex
	lastLogged time.Time
	suppressed int
}

// report counts and logs that a call to an ASPSP, or with aspsp "" the connection of a caller, got no file.
func (f *openFiles) report(ctx context.Context, aspsp string) {
	f.telemetry.Refused(ctx, aspsp, bulkhead.Files)
	f.mu.Lock()
	now := f.now()
	if !f.lastLogged.IsZero() && now.Sub(f.lastLogged) < openFilesInterval {
		f.suppressed++
		f.mu.Unlock()
		return
	}
	suppressed := f.suppressed
	f.lastLogged, f.suppressed = now, 0
	f.mu.Unlock()
	f.log.ErrorContext(ctx, "too many open files", "silenced", suppressed)
}

// onAcceptError reports the error of an accept if its cause is a lack of open files.
func (f *openFiles) onAcceptError(err error) {
	if upstream.OutOfFiles(err) {
		f.report(context.Background(), "")
	}
}

// spareFiles are for Redis, the log, telemetry, secret files and the admin address.
const spareFiles = 200

// filesNeeded returns how many files can be open at the same time: connections of callers, one call for each request in flight,
// and idle connections to providers.
func filesNeeded(c *config.Config) uint64 {
	inFlight := max(c.Server.Limits.InFlight, 0)
	return uint64(server.MaxConns(inFlight) + inFlight + upstream.MaxIdleConns*len(c.Providers) + spareFiles)
}

// fileLimitWarning returns a warning if the limit of open files is too low for the configuration, and "" otherwise.
func fileLimitWarning(c *config.Config, limit uint64) string {
	if needed := filesNeeded(c); limit < needed {
		return fmt.Sprintf("may need %d open files, but the process may open only %d: raise its limit (RLIMIT_NOFILE) or lower inFlight", needed, limit)
	}
	return ""
}

// warnOfFileLimit adds a warning to the configuration if the process may open fewer files than it can need.
func warnOfFileLimit(c *config.Config) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return // the limit is unknown
	}
	if text := fileLimitWarning(c, limit.Cur); text != "" {
		c.Warn("server.limits.inFlight", text)
	}
}
