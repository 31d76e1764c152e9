package unattended

import (
	"context"
	_ "embed"
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
	UnitUsedUp  = "used_up" // no call is left by our count
	UnitLast    = "last"    // one call is left by our count
	UnitBlocked = "closed"  // the ASPSP reported that its limit is used up
)

const (
	// maxUpdates is the maximum number of pending updates. Updates beyond it are dropped.
	maxUpdates = 4096
	// updateFor is how long an update is retried, and updatePause the longest pause between two attempts.
	updateFor   = time.Minute
	updatePause = 5 * time.Second
	// maxExpired is how many expired units are removed from a set at a time, because removing a million would block Redis.
	maxExpired = 256
	// countEvery is how long the counts are reused, and countTimeout the timeout of reading them.
	countEvery   = 5 * time.Second
	countTimeout = 200 * time.Millisecond
	// memberSize is how many characters of a unit's hash are stored: 132 bits.
	memberSize = 22
)

var (
	//go:embed unitstats.lua
	unitStatsSource string
	unitStatsScript = redis.NewScript(unitStatsSource)
)

// UnitStats counts, for metrics only, the units of all gateways with one call left, with no call left, and those that are
// blocked. Redis stores until when each unit is in each state. Calls do not wait for updates and do not fail with them. It is
// safe for concurrent use.
type UnitStats struct {
	rdb          redis.UniversalClient
	policies     map[string]config.Unattended
	timeout      time.Duration // of an update, and of all that are pending at the end
	countTimeout time.Duration
	updates      *retryqueue.Queue[unitUpdate]

	mu     sync.Mutex // also held while the counts are read
	readAt time.Time
	counts map[string]map[string]int64
}

// stateEnds are the times at which a unit leaves each state, in the order of the constants, in microseconds by Redis's clock;
// 0 if it is not in the state.
type stateEnds [3]int64

// A unitUpdate is the change that one step makes. Equal updates are written once.
type unitUpdate struct {
	key      counterKey
	ends     stateEnds
	released bool
}

// NewUnitStats returns statistics for the ASPSPs in policies, by id. The client should not be the counter's, so that updates
// do not delay calls.
func NewUnitStats(rdb redis.UniversalClient, policies map[string]config.Unattended) *UnitStats {
	u := (&UnitStats{rdb: rdb, policies: policies}).Within(stepTimeout)
	u.countTimeout = countTimeout
	return u
}

// Within sets the timeouts of an update and of reading the counts. Tests use it to allow for a busy machine. It must be called
// before the statistics are used.
func (u *UnitStats) Within(d time.Duration) *UnitStats {
	u.timeout, u.countTimeout = d, d
	u.updates = retryqueue.New[unitUpdate](retryqueue.Config{Max: maxUpdates, Timeout: d, MaxPause: updatePause, GiveUp: updateFor})
	return u
}

// WithUnitStats makes the counter update u after each step that changes a unit's state. It must be called before the counter
// is used.
func (c *Counter) WithUnitStats(u *UnitStats) *Counter {
	c.units = u
	return c
}

// update stores when the unit leaves each state, in the background. It does nothing without statistics, for a unit that is in
// no state unless a slot was released, and if too many updates are pending.
func (u *UnitStats) update(key counterKey, ends stateEnds, released bool) {
	if u == nil || ends == (stateEnds{}) && !released || u.updates.Len() >= maxUpdates {
		return
	}
	u.updates.Add(unitUpdate{key, ends, released}, func(ctx context.Context) error {
		ttl := 2*u.policies[key.aspsp].Window + 10*time.Minute // longer than a unit is in any state
		return unitStatsScript.Run(ctx, u.rdb, u.keys(key.aspsp),
			maxExpired, key.member(), ttl.Milliseconds(), released, ends[0], ends[1], ends[2]).Err()
	})
}

// drain makes one last attempt of each pending update, for at most a second. What is lost then affects the metrics only.
func (u *UnitStats) drain(ctx context.Context) {
	if u == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	_ = u.updates.Drain(ctx)
}

// Count returns how many units are in each state, by ASPSP and state. It reads Redis at most every 5 s and with a timeout of
// 200 ms, and returns the same counts in between. ASPSPs whose counts cannot be read and those with a limit of 0 are left out.
func (u *UnitStats) Count(ctx context.Context) map[string]map[string]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now() //nolint:forbidigo // monotonic time of this process, as for a timer
	if u.readAt.IsZero() || now.Sub(u.readAt) >= countEvery {
		u.counts, u.readAt = u.readCounts(ctx), now
	}
	return u.counts
}

func (u *UnitStats) readCounts(ctx context.Context) map[string]map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, u.countTimeout)
	defer cancel()
	for _, run := range []scriptRunner{unitStatsScript.EvalSha, unitStatsScript.Eval} {
		pipe, replies := u.rdb.Pipeline(), map[string]*redis.Cmd{}
		for id, policy := range u.policies {
			if policy.Limit > 0 {
				replies[id] = run(ctx, pipe, u.keys(id), maxExpired)
			}
		}
		if _, err := pipe.Exec(ctx); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			return parseCounts(replies)
		}
	}
	return nil
}

// parseCounts leaves out replies that failed: in a cluster, a node may be unavailable.
func parseCounts(replies map[string]*redis.Cmd) map[string]map[string]int64 {
	counts := map[string]map[string]int64{}
	for id, reply := range replies {
		if n, err := reply.Int64Slice(); err == nil && len(n) == 3 {
			// Units that are used up are also among those with fewer than two calls left.
			counts[id] = map[string]int64{UnitUsedUp: n[0], UnitLast: max(n[1]-n[0], 0), UnitBlocked: n[2]}
		}
	}
	return counts
}

// keys returns the names of the sets of an ASPSP's units, one per state. Each policy has its own sets, because units leave
// their states at other times under another policy.
func (u *UnitStats) keys(aspsp string) []string {
	p := u.policies[aspsp]
	prefix := store.Prefix("units", aspsp, strconv.Itoa(p.Limit), p.Window.String(), string(p.Unit))
	return []string{prefix + UnitUsedUp, prefix + UnitLast, prefix + UnitBlocked}
}

// member returns the start of the unit's hash, which identifies it in the sets.
func (k counterKey) member() string {
	_, hash, _ := strings.Cut(k.prefix, "{")
	return hash[:memberSize]
}
