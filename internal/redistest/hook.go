package redistest

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A Hook handles what a client sends. A part that is nil passes everything on.
type Hook struct {
	Command  func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error
	Pipeline func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error
}

// DialHook implements redis.Hook.
func (Hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h Hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	if h.Command == nil {
		return next
	}
	return func(ctx context.Context, cmd redis.Cmder) error { return h.Command(ctx, cmd, next) }
}

// ProcessPipelineHook implements redis.Hook.
func (h Hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	if h.Pipeline == nil {
		return next
	}
	return func(ctx context.Context, cmds []redis.Cmder) error { return h.Pipeline(ctx, cmds, next) }
}

// HoldNoScript returns a hook that holds back the first reply that Redis does not know a script. It
// closes got when there is such a reply, and passes it on when pass is closed or the command's
// context ends.
func HoldNoScript() (hook Hook, got <-chan struct{}, pass chan<- struct{}) {
	arrived, passed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	return Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
		err := next(ctx, cmd)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			once.Do(func() {
				close(arrived)
				select {
				case <-passed:
				case <-ctx.Done():
				}
			})
		}
		return err
	}}, arrived, passed
}
