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
)

// bubble runs a test whose clock moves only while everything waits for it. Redis and the bank are real and outside the
// bubble: to the gateways they answer in no time, however busy the machine is. A weather makes Redis slow, and what a
// world does before a call makes the bank slow. What the bank's front does is outside the bubble too.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	w := newWorld(t)
	w.server.Config.SetKeepAlivesEnabled(false) // the clock stands still as long as a connection is read from
	synctest.Test(t, func(t *testing.T) {
		w.t, w.patient = t, false // no time passes but where it is the subject
		w.slow(0)
		t.Cleanup(func() { time.Sleep(minute) }) // until the clients of Redis, which are closed by then, have ended
		defer time.Sleep(minute)                 // until what goes on in the background has ended
		test(t, w)
	})
}

// dawdle lets the calls of the gateways that are made afterwards take a time.
func (w *world) dawdle(d time.Duration) {
	w.before = func(context.Context) { time.Sleep(d) }
}

// A prefaced provider does something before each call.
type prefaced struct {
	providers.Provider
	before func(context.Context)
}

func (p prefaced) Accounts(ctx context.Context, q canonical.Query) ([]canonical.Account, error) {
	p.before(ctx)
	return p.Provider.Accounts(ctx, q)
}

func (p prefaced) Balances(ctx context.Context, q canonical.Query, account string) (canonical.AccountBalances, error) {
	p.before(ctx)
	return p.Provider.Balances(ctx, q, account)
}

// A weather is how Redis is for some gateways: by how much each command is late, and whether it says nothing at all.
// Redis carries out a command that is late although nobody waits for it any more.
type weather struct {
	late   atomic.Int64
	silent atomic.Bool
	steps  atomic.Int64 // that it has carried out while somebody waited
}

// slow makes Redis slow for the gateways that are made afterwards.
func (w *world) slow(by time.Duration) *weather {
	redis := w.slowCache(by)
	w.counterIs = redis
	return redis
}

// slowCache makes the Redis slow that keeps lists.
func (w *world) slowCache(by time.Duration) *weather {
	w.cacheIs = &weather{}
	w.cacheIs.late.Store(int64(by))
	return w.cacheIs
}

func (w *weather) delay(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(w.late.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
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

// DialHook makes nothing late: what sets up a connection is, as a command.
func (w *weather) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *weather) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		sent := time.Now()
		due := sent.Add(time.Duration(w.late.Load()))
		if err := w.delay(ctx); err != nil {
			cmd.SetErr(err)
			if !w.silent.Load() {
				go func() {
					time.Sleep(time.Until(due))
					_ = next(context.WithoutCancel(ctx), redis.NewCmd(ctx, cmd.Args()...))
				}()
			}
			return err
		}
		defer w.steps.Add(1)
		return next(context.WithoutCancel(ctx), cmd) // what Redis really takes is not judged
	}
}

func (w *weather) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := w.delay(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// A refusedDeletion lets the first commands that delete fail, after a second each.
type refusedDeletion struct{ first, tried atomic.Int64 }

func (*refusedDeletion) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*refusedDeletion) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *refusedDeletion) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "del" || r.tried.Add(1) > r.first.Load() {
			return next(ctx, cmd)
		}
		time.Sleep(time.Second)
		cmd.SetErr(os.ErrDeadlineExceeded)
		return os.ErrDeadlineExceeded
	}
}
