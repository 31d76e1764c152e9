// Package unitstats counts the units of the unattended limit that are used up, nearly used up, or
// blocked, for metrics. internal/unattended reports the state of units to it.
package unitstats

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/retryqueue"
	"ais-gateway/internal/store"
)

// The states of a unit. A blocked unit can also be in one of the others.
const (
	UsedUp  = "used_up" // no call is left by our count
	Last    = "last"    // one call is left by our count
	Blocked = "closed"  // the ASPSP reported that its limit is used up
)

const (
	// maxUpdates is the maximum number of units with a waiting update. Updates of further units are
	// dropped.
	maxUpdates = 4096
	// exchangeEvery is how long updates wait to be written together, and how long the counts are
	// reused.
	exchangeEvery = 5 * time.Second
	// countTimeout is the timeout of reading the counts.
	countTimeout = 200 * time.Millisecond
	// maxPerScript is how many units one script updates, and how many expired ones it removes from
	// a set. More would block Redis for too long.
	maxPerScript = 256
	// memberSize is how many characters of a unit's hash are stored: 132 bits.
	memberSize = 22
)

var errReply = errors.New("redis sent an unexpected reply to a script")

var (
	//go:embed unitstats.lua
	source string
	script = redis.NewScript(source)
)

// Stats counts the units of all gateways with one call left, with no call
// left, and those that are blocked. Redis stores until when each unit is in each state. Steps of
// the counter only leave updates in memory, which are written together every few seconds. It is
// safe for concurrent use.
type Stats struct {
	rdb          redis.UniversalClient
	policies     map[string]config.Unattended
	timeout      time.Duration // of writing the updates
	countTimeout time.Duration
	every        time.Duration               // between two exchanges with Redis
	writes       *retryqueue.Queue[struct{}] // has its one entry while updates wait

	mu      sync.Mutex
	waiting map[Unit]Update

	exchanging chan struct{} // has an element during an exchange; also guards the fields below
	readAt     time.Time
	counts     map[string]map[string]int64
}

// A Unit identifies a unit: its ASPSP, and the hash of what it counts, which is stored.
type Unit struct{ ASPSP, Member string }

// NewUnit returns the unit whose keys in Redis have this prefix.
func NewUnit(aspsp, prefix string) Unit {
	_, hash, _ := strings.Cut(prefix, "{")
	return Unit{ASPSP: aspsp, Member: hash[:memberSize]}
}

// Ends are the times at which a unit leaves each state, in the order of the constants, in
// microseconds by Redis's clock; 0 if it is not in the state.
type Ends [3]int64

// An Update is the state of a unit after a step of the counter.
type Update struct {
	At       int64 // when the step was made, in microseconds by Redis's clock
	Ends     Ends
	Released bool // the ends may be earlier than those in Redis, because a slot was released
}

// New returns statistics for the ASPSPs in policies, by id. The client should not be the
// counter's, so that updates do not delay calls.
func New(rdb redis.UniversalClient, policies map[string]config.Unattended) *Stats {
	u := &Stats{
		rdb: rdb, policies: policies, every: exchangeEvery,
		waiting: map[Unit]Update{}, exchanging: make(chan struct{}, 1),
	}
	u.Within(store.Timeout)
	u.countTimeout = countTimeout
	return u
}

// ExchangeEvery sets how long updates wait to be written together, and how long the counts are
// reused. Tests use it to wait less. It must be called before the statistics are used.
func (u *Stats) ExchangeEvery(d time.Duration) *Stats {
	u.every = d
	return u
}

// Within sets the timeouts of writing updates and of reading the counts. Tests use it to allow for
// a busy machine. It must be called before the statistics are used.
func (u *Stats) Within(d time.Duration) *Stats {
	u.timeout, u.countTimeout = d, d
	u.writes = retryqueue.New[struct{}](retryqueue.Config{Max: 1, Timeout: d, MaxPause: exchangeEvery})
	return u
}

// Update leaves a unit's state for the next exchange. It does nothing without statistics, for a
// unit that is in no state unless a slot was released, and for one more unit than may wait.
func (u *Stats) Update(key Unit, update Update) {
	if u == nil || update.Ends == (Ends{}) && !update.Released {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) == 0 {
		u.writes.AddAfter(u.every, struct{}{}, u.write)
	}
	u.put(key, update)
}

// put adds an update to those that wait. The state after the latest step wins. The caller holds the
// lock.
func (u *Stats) put(key Unit, update Update) {
	old, waits := u.waiting[key]
	if !waits && len(u.waiting) >= maxUpdates {
		return
	}
	released := update.Released || old.Released
	if old.At > update.At {
		update = old
	}
	update.Released = released
	u.waiting[key] = update
}

// putBack lets updates wait again that Redis has not confirmed.
func (u *Stats) putBack(updates map[Unit]Update, units []Unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range units {
		u.put(key, updates[key])
	}
}

// write writes the waiting updates. It returns an error if Redis has not confirmed them all, and
// the queue then runs it again.
func (u *Stats) write(ctx context.Context) error {
	if err := u.begin(ctx); err != nil {
		return err
	}
	defer u.end()
	_, err := u.exchange(ctx, false)
	return err
}

// Drain writes the waiting updates, for at most a second. What is lost then affects the metrics
// only.
func (u *Stats) Drain(ctx context.Context) {
	if u == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	_ = u.writes.Drain(ctx)
}

// Count returns how many units are in each state, by ASPSP and state. It reads Redis at most every
// 5 s and with a timeout of 200 ms, writes the waiting updates in the same round trip, and returns
// the same counts in between. ASPSPs whose counts cannot be read and those with a limit of 0 are
// left out.
func (u *Stats) Count(ctx context.Context) map[string]map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, u.countTimeout)
	defer cancel()
	if u.begin(ctx) != nil {
		return nil
	}
	defer u.end()
	now := time.Now() //nolint:forbidigo // monotonic time of this process, as for a timer
	if u.readAt.IsZero() || now.Sub(u.readAt) >= u.every {
		u.counts, _ = u.exchange(ctx, true) // counts that could not be read are left out
		u.readAt = now
	}
	return u.counts
}

// begin waits until no other exchange runs, so that they do not overtake each other. It returns
// ctx's error if ctx ends first.
func (u *Stats) begin(ctx context.Context) error {
	select {
	case u.exchanging <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *Stats) end() { <-u.exchanging }

// exchange writes the waiting updates and returns the counts after that, in one round trip. Without
// all, only ASPSPs with an update are read. Updates that Redis does not confirm wait again;
// exchange then returns an error with the other counts.
func (u *Stats) exchange(ctx context.Context, all bool) (map[string]map[string]int64, error) {
	u.mu.Lock()
	updates := u.waiting
	u.waiting = map[Unit]Update{}
	u.mu.Unlock()
	runs := u.runs(updates, all)
	u.send(ctx, runs)
	counts, failed := map[string]map[string]int64{}, error(nil)
	for _, r := range runs {
		n, err := r.reply.Int64Slice()
		if err == nil && len(n) != len(Ends{}) {
			err = errReply
		}
		if err != nil {
			u.putBack(updates, r.units)
			failed = errors.Join(failed, err)
			continue
		}
		// Units that are used up are also among those with fewer than two calls left.
		counts[r.aspsp] = map[string]int64{UsedUp: n[0], Last: max(n[1]-n[0], 0), Blocked: n[2]}
	}
	return counts, failed
}

// A scriptRun is one run of the script: it updates units of an ASPSP and reads its counts.
type scriptRun struct {
	aspsp string
	units []Unit
	args  []any
	reply *redis.Cmd
}

// runs returns the runs that write updates and, if all is set, read the counts of the other
// ASPSPs.
func (u *Stats) runs(updates map[Unit]Update, all bool) []*scriptRun {
	units := map[string][]Unit{}
	for key := range updates {
		units[key.ASPSP] = append(units[key.ASPSP], key)
	}
	var runs []*scriptRun
	for id, policy := range u.policies {
		batches := slices.Collect(slices.Chunk(units[id], maxPerScript))
		if len(batches) == 0 && all && policy.Limit > 0 {
			batches = [][]Unit{nil}
		}
		ttl := 2*policy.Window + 10*time.Minute // longer than a unit is in any state
		for _, batch := range batches {
			args := []any{maxPerScript, ttl.Milliseconds()}
			for _, key := range batch {
				update := updates[key]
				args = append(args, key.Member, update.Released, update.Ends[0], update.Ends[1], update.Ends[2])
			}
			runs = append(runs, &scriptRun{aspsp: id, units: batch, args: args})
		}
	}
	return runs
}

// send makes the runs in one pipeline, and again with its source those that found no script in
// Redis. Each run's reply has its error.
func (u *Stats) send(ctx context.Context, runs []*scriptRun) {
	type runner func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd
	for _, send := range []runner{script.EvalSha, script.Eval} {
		pipe := u.rdb.Pipeline()
		for _, r := range runs {
			r.reply = send(ctx, pipe, u.keys(r.aspsp), r.args...)
		}
		_, _ = pipe.Exec(ctx)
		runs = slices.DeleteFunc(slices.Clone(runs), func(r *scriptRun) bool {
			return !redis.HasErrorPrefix(r.reply.Err(), "NOSCRIPT")
		})
		if len(runs) == 0 {
			return
		}
	}
}

// keys returns the names of the sets of an ASPSP's units, one per state. Each policy has its own
// sets, because units leave their states at other times under another policy.
func (u *Stats) keys(aspsp string) []string {
	p := u.policies[aspsp]
	prefix := store.Prefix("units", aspsp, strconv.Itoa(p.Limit), p.Window.String(), string(p.Unit))
	return []string{prefix + UsedUp, prefix + Last, prefix + Blocked}
}
