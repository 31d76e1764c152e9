package unattended

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// replicaTimeout is how long replicas have to say that they have a step; Redis counts it in milliseconds.
const replicaTimeout = 500 * time.Millisecond

var (
	errUnreadable = errors.New("redis answered what the script does not")
	errReplicas   = errors.New("too few replicas have the step")
)

// run makes one step in Redis, in one round trip. Where replicas are waited for, it fails unless enough of them
// have all that Redis did before.
func (c *Counter) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (*redis.Cmd, error) {
	if c.replicas == 0 {
		said := script.Run(ctx, c.rdb, keys, args...)
		return said, said.Err()
	}
	said, err := c.replicated(ctx, script.EvalSha, keys, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		said, err = c.replicated(ctx, script.Eval, keys, args)
	}
	return said, err
}

type eval func(ctx context.Context, to redis.Scripter, keys []string, args ...any) *redis.Cmd

// replicated sends a step and WAIT on one connection, to the key's primary: WAIT speaks for the writes of its own
// connection, and a cluster's client would send it anywhere.
func (c *Counter) replicated(ctx context.Context, run eval, keys []string, args []any) (*redis.Cmd, error) {
	primary := c.rdb.(redis.Cmdable)
	if cluster, ok := c.rdb.(*redis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		primary = node
	}
	pipe := primary.Pipeline()
	said := run(ctx, pipe, keys, args...)
	have := redis.NewIntCmd(ctx, "wait", c.replicas, replicaTimeout.Milliseconds())
	_ = pipe.Process(ctx, have)
	_, err := pipe.Exec(ctx)
	switch {
	case said.Err() != nil:
		return nil, said.Err()
	case err != nil:
		return nil, err
	case have.Val() < int64(c.replicas):
		return nil, errReplicas
	}
	return said, nil
}
