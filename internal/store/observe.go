package store

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store/send"
)

// Observer receives the result of every command.
type Observer interface {
	// Command reports a command, by its name in upper case, or a pipeline (PIPELINE). kind is the
	// kind of its error, "" for success; a missing value is a success. took includes all retries.
	// Each script of a batch is reported, with the duration of the batch.
	Command(ctx context.Context, name, kind string, took time.Duration)
}

// metricsHook reports the commands of one client to an Observer.
type metricsHook struct{ by Observer }

func (metricsHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o metricsHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		o.by.Command(ctx, strings.ToUpper(cmd.Name()), errorKind(err), time.Since(start))
		return err
	}
}

func (o metricsHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		took := time.Since(start)
		if slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return !send.IsScript(cmd) }) {
			o.by.Command(ctx, "PIPELINE", errorKind(err), took)
			return err
		}
		for _, cmd := range cmds { // a batch
			o.by.Command(ctx, strings.ToUpper(cmd.Name()), errorKind(cmd.Err()), took)
		}
		return err
	}
}

// errorKinds maps prefixes of Redis's error replies to their kinds.
var errorKinds = []struct{ prefix, kind string }{
	{"READONLY", "readonly"},
	{"OOM", "oom"},
	{"NOREPLICAS", "noreplicas"},
	{"NOSCRIPT", "noscript"},
	{"LOADING", "loading"},
	{"MOVED", "moved"},
	{"ASK", "moved"},
	{"TRYAGAIN", "moved"},
	{"CLUSTERDOWN", "cluster_down"},
	{"MASTERDOWN", "cluster_down"},
	{"NOPERM", "noperm"},
	{"ERR The user executing the script", "noperm"}, // Redis 7.0, for a command in a script
	{"NOAUTH", "noauth"},
	{"WRONGPASS", "noauth"},
}

// errorKind returns the kind of an error from a closed list, because texts of Redis and of the
// network must not become label values. It returns "" for success and for a missing value.
func errorKind(err error) string {
	if err == nil || errors.Is(err, redis.Nil) {
		return ""
	}
	var reply redis.Error
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case !errors.As(err, &reply):
		return "unreachable"
	}
	for _, f := range errorKinds {
		if redis.HasErrorPrefix(err, f.prefix) {
			return f.kind
		}
	}
	return "other"
}
