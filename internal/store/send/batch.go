// Package send sends commands to Redis: the scripts of concurrent requests together, and a command
// once more if its connection was lost. internal/store makes its clients with it.
package send

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
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

var (
	// ErrNotSent means that a script was not sent, because its request had left.
	ErrNotSent = errors.New("the request has left before its script was sent")

	errPanicked = errors.New("a command to redis panicked")
)

func notSent(cause error) error { return fmt.Errorf("%w: %w", ErrNotSent, cause) }

// batches sends the scripts that concurrent requests run on one Redis server in batches: one write
// and one read instead of one for each. There is no wait for a batch to fill: it has the scripts
// that were run until its goroutine got its turn.
//
// A request waits for its script as long as its context allows. A script that was sent is executed
// even if the context ends before: the client would close the connection of a command that is
// interrupted. A script is not put into a batch, and not sent a second time, after its request has
// left: the request may have released its slot or lease by then.
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
}

// An AbandonedError is the error of a script whose context ended before its result. Redis may have
// executed the script, or may still do so.
type AbandonedError struct{ script *batched }

func (e *AbandonedError) Error() string { return e.Unwrap().Error() }

// Unwrap returns the error of the script's context.
func (e *AbandonedError) Unwrap() error { return e.script.ctx.Err() }

// Result waits for the script of an AbandonedError, and returns its result. It returns nil if err is
// another error, and fails with ctx's error if ctx ends before.
func Result(ctx context.Context, err error) (*redis.Cmd, error) {
	var abandoned *AbandonedError
	if !errors.As(err, &abandoned) {
		return nil, nil //nolint:nilnil // there is no script
	}
	select {
	case <-abandoned.script.done:
		return abandoned.script.cmd, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
		if err := ctx.Err(); err != nil {
			return notSent(err)
		}
		own := &batched{ctx: ctx, cmd: redis.NewCmd(ctx, cmd.Args()...), done: make(chan struct{})}
		if b.add(own) {
			b.workers.Go(func() { b.sendAll(next) })
		}
		if err := own.wait(); err != nil {
			return err
		}
		script.SetVal(own.cmd.Val())
		return nil
	}
}

// wait waits for the result as long as the request's context allows, and returns its error.
func (s *batched) wait() error {
	select {
	case <-s.done:
		return s.cmd.Err()
	case <-s.ctx.Done():
		return &AbandonedError{s}
	}
}

// IsScript reports whether a command runs a script.
func IsScript(cmd redis.Cmder) bool { return cmd.Name() == "evalsha" || cmd.Name() == "eval" }

// add adds a script to the next batch. It reports whether a goroutine must be started to send it.
func (b *batches) add(s *batched) (start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, s)
	if start = len(b.waiting)%maxBatch == 1 && b.sending < maxSending; start {
		b.sending++
	}
	return start
}

// take returns the scripts of the next batch. Scripts whose requests have left are not sent. Without
// any script, the goroutine that sends them ends.
func (b *batches) take() (batch []*batched) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := 0
	for ; taken < len(b.waiting) && len(batch) < maxBatch; taken++ {
		s := b.waiting[taken]
		if err := s.ctx.Err(); err != nil {
			s.cmd.SetErr(notSent(err))
			close(s.done)
			continue
		}
		batch = append(batch, s)
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
	ctx := context.WithValue(context.WithoutCancel(batch[0].ctx), batchKey{}, batch)
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

// batchKey is the context key of the batch that is sent.
type batchKey struct{}

// toResend returns which of the commands are sent again after their connection was lost. Of a batch
// these are the scripts without a result whose requests wait for them; of other commands, such as those
// that set up a connection for a batch, all, unless ctx has ended.
func toResend(ctx context.Context, cmds ...redis.Cmder) (again []redis.Cmder) {
	batch, _ := ctx.Value(batchKey{}).([]*batched)
	for _, cmd := range cmds {
		waits := ctx.Err() == nil
		if i := slices.IndexFunc(batch, func(s *batched) bool { return s.cmd == cmd }); i >= 0 {
			lost := len(cmds) == 1 || ConnLost(cmd.Err()) // the client sets the error of a single command later
			waits = lost && batch[i].ctx.Err() == nil
		}
		if waits {
			again = append(again, cmd)
		}
	}
	return again
}
