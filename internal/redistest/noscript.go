package redistest

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// NoScriptHook holds back the first reply that Redis does not know a script.
type NoScriptHook struct {
	Got  chan struct{} // closed when there is such a reply
	Pass chan struct{} // to be closed to pass it on; the end of the command's context passes it on too
	once sync.Once
}

// HoldNoScript returns a hook for a client.
func HoldNoScript() *NoScriptHook {
	return &NoScriptHook{Got: make(chan struct{}), Pass: make(chan struct{})}
}

// DialHook implements redis.Hook.
func (*NoScriptHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (*NoScriptHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h *NoScriptHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			h.once.Do(func() {
				close(h.Got)
				select {
				case <-h.Pass:
				case <-ctx.Done():
				}
			})
		}
		return err
	}
}
