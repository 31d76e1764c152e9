package gateway_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/store"
)

// bubble runs a test in a synctest bubble. Redis and the simulator are real and outside the bubble:
// in the bubble's time they respond immediately, however busy the machine is. A delayHook makes
// Redis slow, and beforeCall makes the ASPSP slow. Handlers of the interceptor run outside the
// bubble.
func bubble(t *testing.T, test func(t *testing.T, w *fixture)) {
	t.Helper()
	w := newFixture(t)
	w.server.Config.SetKeepAlivesEnabled(false) // time does not advance while a goroutine reads from a connection
	synctest.Test(t, func(t *testing.T) {
		w.t, w.longTimeouts = t, false // a real Redis takes no time in the bubble
		w.slowRedis(0)
		t.Cleanup(func() { time.Sleep(2 * time.Hour) }) // idle workers end
		defer time.Sleep(minute)                        // background work of the gateways ends
		test(t, w)
	})
}

// longCall is how long a shared call takes. Its end is computed by the clock of the bubble, and
// compared with times by Redis's real clock: it must be later than the real time in which all
// requests find the lease held.
const longCall = 20 * time.Second

// delayCalls makes each call of gateways that are created afterwards take d longer.
func (w *fixture) delayCalls(d time.Duration) {
	w.beforeCall = func(context.Context) { time.Sleep(d) }
}

// A callHook runs before ahead of each call of a provider.
type callHook struct {
	providers.Provider
	before func(context.Context)
}

func (p callHook) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	p.before(ctx)
	return p.Provider.Accounts(ctx, q)
}

func (p callHook) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	p.before(ctx)
	return p.Provider.Balances(ctx, q, account)
}

// A delayHook delays each command to Redis, or blocks it while silent is set. A delayed command is
// executed even if its caller has given up.
type delayHook struct {
	delay     atomic.Int64
	silent    atomic.Bool
	completed atomic.Int64 // commands whose caller got the result
}

// slowRedis delays both Redis clients of gateways that are created afterwards.
func (w *fixture) slowRedis(by time.Duration) *delayHook {
	redis := w.slowCache(by)
	w.counterHook = redis
	return redis
}

// slowCache delays the Redis client of the cache, for gateways that are created afterwards.
func (w *fixture) slowCache(by time.Duration) *delayHook {
	w.cacheHook = &delayHook{}
	w.cacheHook.delay.Store(int64(by))
	return w.cacheHook
}

// wait returns after the delay. It fails if ctx ends, or after the client's timeout of a command.
func (w *delayHook) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, store.Timeout)
	defer cancel()
	// Without a delay there is no timer: in a bubble, the race detector crashes if two goroutines begin
	// to wait for timers that have expired.
	if delay := time.Duration(w.delay.Load()); delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for w.silent.Load() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// DialHook adds no delay: the commands that set up a connection are delayed already.
func (w *delayHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *delayHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		sent := time.Now()
		due := sent.Add(time.Duration(w.delay.Load()))
		if err := w.wait(ctx); err != nil {
			cmd.SetErr(err)
			if !w.silent.Load() {
				go func() {
					time.Sleep(time.Until(due))
					_ = next(context.WithoutCancel(ctx), redis.NewCmd(ctx, cmd.Args()...))
				}()
			}
			return err
		}
		defer w.completed.Add(1)
		return next(context.WithoutCancel(ctx), cmd) // the deadline is in the bubble's time, so the real Redis must not see it
	}
}

func (w *delayHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := w.wait(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		defer w.completed.Add(int64(len(cmds)))
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// failingDeletes makes the first DEL commands fail, each after one second.
type failingDeletes struct{ failures, attempts atomic.Int64 }

func (*failingDeletes) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*failingDeletes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *failingDeletes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "del" || r.attempts.Add(1) > r.failures.Load() {
			return next(ctx, cmd)
		}
		time.Sleep(time.Second)
		cmd.SetErr(os.ErrDeadlineExceeded)
		return os.ErrDeadlineExceeded
	}
}
