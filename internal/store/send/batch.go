// Package send sends commands to Redis: the scripts of concurrent requests together, and a command
// once more if its connection was lost. internal/store makes its clients with it.
package send

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store/steps"
)

const (
	// maxBatch is the maximum number of scripts in one batch.
	maxBatch = 64
	// maxSending is the maximum number of batches that a client sends at the same time. Further scripts
	// wait for the end of one.
	maxSending = 16
)

var errPanicked = errors.New("a command to redis panicked")

// batches sends the scripts that concurrent requests run on one Redis server in batches: one write
// and one read instead of one for each. There is no wait for a batch to fill: it contains the scripts
// that were added before its goroutine ran.
//
// A request waits for its script as long as its context allows. A script that was sent is executed
// even if the context ends before: the client would close the connection of a command that is
// interrupted. Then its request releases the slot or the lease that the script may take, which also
// holds if the script is executed later.
type batches struct {
	rdb     *redis.Client
	workers *steps.Workers

	mu      sync.Mutex
	waiting []*batched // for the next batch
	sending int        // goroutines that send batches
}

// batched is a script that waits for its result. It has a command of its own, because the caller's
// must not change after the caller has left.
type batched struct {
	ctx  context.Context //nolint:containedctx // of the request that waits
	cmd  *redis.Cmd
	done chan struct{}
	// The following are guarded by batches.mu.
	sent      bool // it is in a batch
	abandoned bool // its request left before it was sent
}

// Batch makes a client send scripts in batches. Its hook must be the first one, so that
// the others see what is sent.
func Batch(rdb *redis.Client) { rdb.AddHook(&batches{rdb: rdb, workers: steps.NewWorkers()}) }

func (b *batches) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook passes pipelines on, which a batch is too.
func (b *batches) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook sends a script in the next batch, and passes other commands on.
func (b *batches) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		script, ok := cmd.(*redis.Cmd)
		if !ok || !IsScript(cmd) {
			return next(ctx, cmd)
		}
		own := &batched{ctx: ctx, cmd: redis.NewCmd(ctx, cmd.Args()...), done: make(chan struct{})}
		if b.add(own) {
			b.workers.Go(func() { b.sendAll(next) })
		}
		if err := b.wait(own); err != nil {
			return err
		}
		script.SetVal(own.cmd.Val())
		return nil
	}
}

// wait waits for a script's result as long as its request's context allows, and returns its error. The
// error wraps ErrNotSent if the request leaves before the script is sent: then it is not sent.
func (b *batches) wait(s *batched) error {
	select {
	case <-s.done:
		return s.cmd.Err()
	case <-s.ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.sent {
		return s.ctx.Err()
	}
	s.abandoned = true
	return fmt.Errorf("%w: %w", steps.ErrNotSent, s.ctx.Err())
}

// IsScript reports whether a command runs a script.
func IsScript(cmd redis.Cmder) bool { return cmd.Name() == "evalsha" || cmd.Name() == "eval" }

// add adds a script to the next batch. It reports whether a goroutine must be started to send it.
func (b *batches) add(s *batched) (start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, s)
	if start = len(b.waiting)%maxBatch == 1 && b.sending < maxSending; start { // a goroutine for each batch that begins
		b.sending++
	}
	return start
}

// take returns the scripts of the next batch. Without any script, the goroutine that sends them ends.
func (b *batches) take() (batch []*batched) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := 0
	for ; taken < len(b.waiting) && len(batch) < maxBatch; taken++ {
		if s := b.waiting[taken]; !s.abandoned {
			s.sent = true
			batch = append(batch, s)
		}
	}
	b.waiting = b.waiting[taken:]
	if len(batch) == 0 {
		b.waiting = nil
		b.sending--
	}
	return batch
}

// sendAll sends batches until no script waits.
func (b *batches) sendAll(next redis.ProcessHook) {
	runtime.Gosched() // other requests that can run add their scripts
	for batch := b.take(); len(batch) > 0; batch = b.take() {
		b.send(batch, next)
	}
}

// send sends a batch. A script alone is sent by next.
func (b *batches) send(batch []*batched, next redis.ProcessHook) {
	// The requests wait as long as they can, and the client has timeouts. Measurements get the trace of
	// the first script's request.
	ctx := context.WithoutCancel(batch[0].ctx)
	returned := false
	defer func() {
		for _, s := range batch {
			if !returned {
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
	returned = true
}
