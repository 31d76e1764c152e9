package store

import (
	"context"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store/steps"
)

// MaxBatch is the maximum number of scripts in one batch.
const MaxBatch = maxBatch

// SendTogether sends commands in one batch, or in as few as possible. It returns when all have a
// result.
func SendTogether(rdb *redis.Client, cmds []*redis.Cmd) {
	b := &batches{rdb: rdb, workers: steps.NewWorkers()}
	all := make([]*batched, len(cmds))
	for i, cmd := range cmds {
		all[i] = &batched{ctx: context.Background(), cmd: cmd, done: make(chan struct{})}
		b.add(all[i])
	}
	b.send(func(ctx context.Context, cmd redis.Cmder) error { return rdb.Process(ctx, cmd) })
	for _, s := range all {
		<-s.done
	}
}
