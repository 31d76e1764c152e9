package send

import (
	"context"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store/steps"
)

// MaxBatch is the maximum number of scripts in one batch, and MaxSending that of batches that are
// sent at the same time.
const MaxBatch, MaxSending = maxBatch, maxSending

// SendTogether sends commands in one batch, or in as few as possible. It returns when all have a
// result.
func SendTogether(rdb *redis.Client, cmds []*redis.Cmd) {
	b := NewBatches(rdb)
	all := make([]*batched, len(cmds))
	for i, cmd := range cmds {
		all[i] = &batched{ctx: context.Background(), cmd: cmd, done: make(chan struct{})}
		b.add(all[i])
	}
	b.sendAll(rdb.Process)
	for _, s := range all {
		<-s.done
	}
}

// Batches are batches whose state a test sees.
type Batches struct{ batches }

// NewBatches returns batches that are sent with a client.
func NewBatches(rdb *redis.Client) *Batches {
	return &Batches{batches{rdb: rdb, workers: steps.NewWorkers()}}
}

// Run runs a script, and returns a channel that gets its error.
func (b *Batches) Run(ctx context.Context, cmd *redis.Cmd) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.ProcessHook(b.rdb.Process)(ctx, cmd) }()
	return result
}

// Waiting returns the number of scripts that are not in a batch yet.
func (b *Batches) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}
