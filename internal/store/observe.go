package store

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// An Observer is told of every command.
type Observer interface {
	// Command is one command, by its name in capitals, or several that were sent together (PIPELINE). fault is the kind of
	// its failure, "" for none: a value that is not there is none. took is until its answer was read, with all tries.
	Command(ctx context.Context, name, fault string, took time.Duration)
}

// observed tells of the commands of one client.
type observed struct{ by Observer }

func (observed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o observed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		o.by.Command(ctx, strings.ToUpper(cmd.Name()), fault(err), time.Since(start))
		return err
	}
}

func (o observed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		o.by.Command(ctx, "PIPELINE", fault(err), time.Since(start))
		return err
	}
}

// faults are how Redis's own errors begin, and what is told of them.
var faults = []struct{ prefix, fault string }{
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
	{"ERR The user executing the script", "noperm"}, // how Redis 7.0 says it of a command in a script
	{"NOAUTH", "noauth"},
	{"WRONGPASS", "noauth"},
}

// fault is the kind of a failure, of a closed list: what Redis or the network said is not passed on.
func fault(err error) string {
	var said redis.Error
	var slow net.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return ""
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &slow) && slow.Timeout():
		return "timeout"
	case !errors.As(err, &said):
		return "unreachable"
	}
	for _, f := range faults {
		if redis.HasErrorPrefix(err, f.prefix) {
			return f.fault
		}
	}
	return "other"
}
