package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	overload "ais-gateway/internal/bulkhead"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/telemetry"
)

// filesEvery is how often the log says that no file can be opened; the metric counts each time.
const filesEvery = 10 * time.Second

// files reports that the process, or the machine, has as many files open as it may: a socket is one of them.
type files struct {
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	now       func() time.Time

	mu       sync.Mutex
	last     time.Time
	silenced int
}

// out is told of each call that could not be made, with its ASPSP, and of each connection that could not be accepted.
func (f *files) out(ctx context.Context, aspsp string) {
	f.telemetry.Refused(ctx, aspsp, overload.Files)
	f.mu.Lock()
	now := f.now()
	if !f.last.IsZero() && now.Sub(f.last) < filesEvery {
		f.silenced++
		f.mu.Unlock()
		return
	}
	silenced := f.silenced
	f.last, f.silenced = now, 0
	f.mu.Unlock()
	f.log.ErrorContext(ctx, "too many open files", "silenced", silenced)
}

// watched is a listener whose files are watched.
func (f *files) watched(l net.Listener) net.Listener { return &watchedListener{l, f} }

type watchedListener struct {
	net.Listener
	files *files
}

// Accept implements net.Listener. net/http waits and tries again after such an error.
func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if upstream.OutOfFiles(err) {
		l.files.out(context.Background(), "")
	}
	return conn, err
}

// spareFiles are for Redis, the log, telemetry, secrets that are read, and the admin address.
const spareFiles = 200

// filesNeeded is how many files may be open at once: callers' connections, one call for each request in progress, and the
// connections to providers that are kept.
func filesNeeded(c *config.Config) uint64 {
	inFlight := max(c.Server.Limits.InFlight, 0)
	return uint64(mostConnections(inFlight) + inFlight + upstream.MostKept*len(c.Providers) + spareFiles)
}

// filesWarning says that a limit of open files does not fit the configuration, "" if it does.
func filesWarning(c *config.Config, most uint64) string {
	if needed := filesNeeded(c); most < needed {
		return fmt.Sprintf("may need %d open files, but the process may open only %d: raise its limit (RLIMIT_NOFILE) or lower inFlight", needed, most)
	}
	return ""
}

// warnOfFiles adds a warning to the configuration if the process may open fewer files than it can need.
func warnOfFiles(c *config.Config) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return // nothing is known
	}
	if text := filesWarning(c, limit.Cur); text != "" {
		c.Warn("server.limits.inFlight", text)
	}
}
