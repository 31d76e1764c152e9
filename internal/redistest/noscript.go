package redistest

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// NoScriptHook holds back the reply that Redis does not know a script. It holds one reply, and then
// passes all until Reset.
type NoScriptHook struct {
	Got  chan struct{} // closed when there is such a reply
	Pass chan struct{} // to be closed to pass it on

	once *sync.Once
}

// HoldNoScript returns a hook for a client.
func HoldNoScript() *NoScriptHook {
	h := &NoScriptHook{}
	h.Reset()
	return h
}

// Reset makes the hook hold another reply. No command may be in progress.
func (h *NoScriptHook) Reset() {
	h.Got, h.Pass, h.once = make(chan struct{}), make(chan struct{}), new(sync.Once)
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
				<-h.Pass
			})
		}
		return err
	}
}
