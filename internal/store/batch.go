package store

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store/steps"
)

// maxBatch is the maximum number of scripts in one batch.
const maxBatch = 64

var errPanicked = errors.New("a command to redis panicked")

// batches sends the scripts that concurrent requests run on one Redis server in batches: one write
// and one read instead of one for each. There is no wait for a batch to fill: it has the scripts
// that were run until its goroutine got its turn.
//
// A request waits for its script as long as its context allows. The script is executed even if the
// context ends before: the client would close the connection of a command that is interrupted.
type batches struct {
	rdb     *redis.Client
	workers *steps.Workers

	mu      sync.Mutex
	waiting []*batched // for the next batch
}

// batched is a script that waits for its result. It has a command of its own, because the caller's
// must not change after the caller has left.
type batched struct {
	ctx  context.Context //nolint:containedctx // of the request, whose trace a measurement has
	cmd  *redis.Cmd
	done chan struct{}
}

// batchScripts makes a client send scripts in batches. Its hook must be the first one, so that
// the others see what is sent.
func batchScripts(rdb *redis.Client) { rdb.AddHook(&batches{rdb: rdb, workers: steps.NewWorkers()}) }

func (b *batches) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook passes pipelines on, which a batch is too.
func (b *batches) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook sends a script in the next batch, and passes other commands on.
func (b *batches) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		script, ok := cmd.(*redis.Cmd)
		if !ok || !isScript(cmd) {
			return next(ctx, cmd)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		own := &batched{ctx: ctx, cmd: redis.NewCmd(ctx, cmd.Args()...), done: make(chan struct{})}
		if b.add(own) {
			b.workers.Go(func() { b.send(next) })
		}
		select {
		case <-own.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if own.cmd.Err() == nil {
			script.SetVal(own.cmd.Val())
		}
		return own.cmd.Err()
	}
}

// isScript reports whether a command runs a script.
func isScript(cmd redis.Cmder) bool { return cmd.Name() == "evalsha" || cmd.Name() == "eval" }

// add adds a script to the next batch. It reports whether it is the batch's first.
func (b *batches) add(s *batched) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, s)
	return len(b.waiting) == 1
}

// take returns the scripts of the next batch. more is true if they were too many for one.
func (b *batches) take() (batch []*batched, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), maxBatch)
	batch, b.waiting = b.waiting[:n:n], b.waiting[n:]
	if more = len(b.waiting) > 0; !more {
		b.waiting = nil
	}
	return batch, more
}

// send sends the next batch. A script alone is sent by next.
func (b *batches) send(next redis.ProcessHook) {
	runtime.Gosched() // other requests that can run add their scripts
	batch, more := b.take()
	if more {
		b.workers.Go(func() { b.send(next) })
	}
	// The requests wait as long as they can, and the client has timeouts. The trace is that of the
	// request that ran the first script.
	ctx := context.WithoutCancel(batch[0].ctx)
	sent := false
	defer func() {
		for _, s := range batch {
			if !sent {
				s.cmd.SetErr(errPanicked)
			}
			close(s.done)
		}
	}()
	defer recovery.Recover(ctx, slog.Default())
	if len(batch) == 1 {
		batch[0].cmd.SetErr(next(ctx, batch[0].cmd))
	} else {
		pipe := b.rdb.Pipeline()
		for _, s := range batch {
			_ = pipe.Process(ctx, s.cmd)
		}
		_, _ = pipe.Exec(ctx) // each command has its error
	}
	sent = true
}
