package unattended

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store/send"
	"ais-gateway/internal/store/steps"
)

// replicaTimeout is how long WAIT waits for replicas. Redis measures it in milliseconds.
const replicaTimeout = 500 * time.Millisecond

// replySize is how many values usage.lua returns.
const replySize = 8

var (
	errReply    = errors.New("redis sent an unexpected reply to a script")
	errReplicas = errors.New("too few replicas have confirmed the step")
)

// stepContext returns the context of one step. It ends with the counter's timeout or the caller's
// deadline, but not when the caller's context is canceled.
func (c *Counter) stepContext(ctx context.Context) (context.Context, context.CancelFunc) {
	until := time.Now().Add(c.timeout) //nolint:forbidigo // of a context
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), until)
}

// read runs a step that only reads. With replicas it is not interrupted when ctx ends: the client
// would close the connection of the pipeline. A take needs no such care: its caller has more time than
// the step.
func read[T any](ctx context.Context, c *Counter, step func(context.Context) (T, error)) (T, error) {
	if c.replicas == 0 {
		return step(ctx)
	}
	return steps.Begin(ctx, c.workers, c.timeout, step).Wait(ctx)
}

// runScript runs a script in one round trip. With replicas it fails unless enough of them have
// confirmed all writes up to this one.
func (c *Counter) runScript(ctx context.Context, script *redis.Script, keys []string, args ...any) (*redis.Cmd, error) {
	if c.replicas == 0 {
		reply := send.Run(ctx, script, c.rdb, keys, args...)
		return reply, reply.Err()
	}
	reply, first := c.runReplicated(ctx, script.EvalSha, keys, args)
	if !redis.HasErrorPrefix(first, "NOSCRIPT") {
		return reply, first
	}
	reply, err := c.runReplicated(ctx, script.Eval, keys, args)
	return reply, send.ExecutedBefore(err)
}

// A scriptRunner is redis.Script's Eval or EvalSha.
type scriptRunner func(ctx context.Context, client redis.Scripter, keys []string, args ...any) *redis.Cmd

// runReplicated sends a script and WAIT in one pipeline to the primary of the keys. WAIT covers
// only the writes of its own connection, and a cluster client would send it to any node.
func (c *Counter) runReplicated(ctx context.Context, run scriptRunner, keys []string, args []any) (*redis.Cmd, error) {
	primary := c.rdb.(redis.Cmdable)
	if cluster, ok := c.rdb.(*redis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		primary = node
	}
	pipe := primary.Pipeline()
	reply := run(ctx, pipe, keys, args...)
	confirmed := redis.NewIntCmd(ctx, "wait", c.replicas, replicaTimeout.Milliseconds())
	_ = pipe.Process(ctx, confirmed)
	_, err := pipe.Exec(ctx)
	switch {
	case reply.Err() != nil:
		return nil, reply.Err()
	case err != nil, confirmed.Val() < int64(c.replicas): // the step was made, even if WAIT failed
		return nil, errReplicas
	}
	return reply, nil
}

// fromMicros returns n microseconds, or the longest duration if n is greater.
func fromMicros(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Microsecond
}
