package health

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/upstream"
	"ais-gateway/internal/server"
)

// CheckConfig returns the risky values of a configuration, one sentence each, and logs them. They
// include a limit of open files that is too low for the configuration. CheckConfig also logs until
// when the configuration blocks all unattended calls.
func CheckConfig(ctx context.Context, log *slog.Logger, c *config.Config) []string {
	if until := c.Unattended.ClosedUntil; until.After(time.Now()) {
		log.WarnContext(ctx, "unattended calls blocked", "closed_until", until.UTC().Format(time.RFC3339))
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		if text := fileLimitWarning(c, limit.Cur); text != "" {
			c.Warn("server.limits.inFlight", text)
		}
	}
	risky := c.Warnings().Texts()
	if len(risky) > 0 {
		log.WarnContext(ctx, "risky configuration", "warnings", risky)
	}
	return risky
}

// spareFiles are for Redis, the log, telemetry, secret files and the admin address.
const spareFiles = 200

// filesNeeded returns how many files can be open at the same time: connections of callers, one call
// for each request in flight, and idle connections to providers.
func filesNeeded(c *config.Config) uint64 {
	inFlight := max(c.Server.Limits.InFlight, 0)
	return uint64(server.MaxConns(inFlight) + inFlight + upstream.MaxIdleConns*len(c.Providers) + spareFiles)
}

// fileLimitWarning returns a warning if the limit of open files is too low for the configuration,
// and "" otherwise.
func fileLimitWarning(c *config.Config, limit uint64) string {
	if needed := filesNeeded(c); limit < needed {
		return fmt.Sprintf("may need %d open files, but the process may open only %d: raise its limit (RLIMIT_NOFILE) or lower inFlight", needed, limit)
	}
	return ""
}
