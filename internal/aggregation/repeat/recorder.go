package repeat

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/cache"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/recovery"
)

// againTimeout is the timeout of storing what could not be stored before the response.
const againTimeout = 2 * time.Second

// recorder stores the results of one aggregation. It is a runner.Recorder.
type recorder struct {
	*Aggregator
	id  cache.ReplayID
	run string
	end func() // is called when the last source has finished

	mu     sync.Mutex
	left   int                     // sources that have not finished
	final  map[int]bool            // sources that have
	failed map[int]json.RawMessage // what could not be stored; nil while Redis responds
}

func newRecorder(a *Aggregator, id cache.ReplayID, run string, sources int, end func()) *recorder {
	return &recorder{Aggregator: a, id: id, run: run, end: end, left: sources, final: map[int]bool{}}
}

// Finished implements runner.Recorder. If Redis did not respond, all results that are missing are
// stored again when the last source has finished.
func (c *recorder) Finished(ctx context.Context, r aggregation.SourceResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	c.final[r.Index] = true
	c.store(ctx, map[int]json.RawMessage{r.Index: encode(r, true)})
	if c.left > 0 {
		return
	}
	c.end()
	if c.failed == nil {
		return
	}
	ctx, missing := context.WithoutCancel(ctx), c.failed
	c.writes.Go(func() {
		defer recovery.Recover(ctx, c.Logger)
		within, cancel := context.WithTimeout(ctx, againTimeout)
		defer cancel()
		_ = c.Cache.StoreResults(within, c.id, c.run, missing, true) // repeats then lack these results
	})
}

// Unfinished implements runner.Recorder.
func (c *recorder) Unfinished(ctx context.Context, results []aggregation.SourceResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unfinished := map[int]json.RawMessage{}
	for i, r := range results {
		if !c.final[i] {
			unfinished[i] = encode(r, false)
		}
	}
	if len(unfinished) > 0 {
		c.store(ctx, unfinished)
	}
}

// store stores results. After an error it only keeps them, so that the request waits for Redis once.
// The caller holds the lock.
func (c *recorder) store(ctx context.Context, results map[int]json.RawMessage) {
	if c.failed == nil {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateway.RedisBudget)
		defer cancel()
		if c.Cache.StoreResults(within, c.id, c.run, results, c.left == 0) == nil {
			return
		}
		c.failed = map[int]json.RawMessage{}
	}
	maps.Copy(c.failed, results)
}

func encode(r aggregation.SourceResult, final bool) json.RawMessage {
	text, err := json.Marshal(stored{r, final, time.Now().UTC()})
	if err != nil {
		panic("repeat: a result does not encode")
	}
	return text
}
