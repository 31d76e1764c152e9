package unattended

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/rescue"
	"ais-gateway/internal/store"
)

// The states of units that are told of. Closed does not depend on the count: a unit may be closed and used up.
const (
	UnitsUsedUp = "used_up" // no call is left by our count
	UnitsLast   = "last"    // one is
	UnitsClosed = "closed"  // the ASPSP said that none is
)

const (
	// maxDue bounds the units that wait to be told of. More than that are not told of.
	maxDue = 4096
	// settling is how long a unit is left alone before its state is read and told: of many changes at once the last counts,
	// and what another gateway tells of the same unit is not overtaken.
	settling = 100 * time.Millisecond
	// batch is how many units are told of in one go, and how many of those that are past are forgotten then.
	batch = 256
	// countEvery and countTimeout are how often Redis is asked for the numbers, and how long it has.
	countEvery   = 5 * time.Second
	countTimeout = 200 * time.Millisecond
	// memberSize is how much of a unit's hash tells it from others: 132 bits.
	memberSize = 22
)

var (
	//go:embed units.lua
	unitsSource string
	unitsScript = redis.NewScript(unitsSource)
)

// Units are those units of all gateways that have one call left, none, or were closed. They stand in Redis, for telemetry
// alone: nothing depends on them, what cannot be told is lost, and no call waits for them. They are safe for concurrent use.
type Units struct {
	rdb      redis.UniversalClient
	policies map[string]config.Unattended

	mu   sync.Mutex
	due  map[unit]bool
	wake chan struct{}

	reading sync.Mutex
	read    time.Time
	counts  map[string]map[string]int64
}

// NewUnits makes them for the ASPSPs in policies, by id. The client is better not the counter's own.
func NewUnits(rdb redis.UniversalClient, policies map[string]config.Unattended) *Units {
	return &Units{rdb: rdb, policies: policies, due: map[unit]bool{}, wake: make(chan struct{}, 1)}
}

// Tell has the counter tell of its units. It is called before the counter is used.
func (c *Counter) Tell(u *Units) *Counter {
	c.units = u
	return c
}

// note has a unit told of soon. It never waits, and is nothing for no Units and where no call is allowed.
func (u *Units) note(x unit) {
	if u == nil || u.policies[x.aspsp].Limit == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.due) >= maxDue {
		return
	}
	u.due[x] = true
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Run tells of units until ctx ends.
func (u *Units) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settling):
		}
		u.Flush(ctx)
	}
}

// Flush tells at once of all units that wait for it, until Redis says nothing for a second.
func (u *Units) Flush(ctx context.Context) {
	defer rescue.Catch(ctx, slog.Default())
	for units := u.some(); len(units) > 0 && u.tell(ctx, units); {
		units = u.some()
	}
}

// some takes a batch of the units that wait.
func (u *Units) some() (units []unit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for x := range u.due {
		if len(units) == batch {
			break
		}
		delete(u.due, x)
		units = append(units, x)
	}
	return units
}

// tell reads how the units stand and writes it down. What fails is lost: the next call of a unit tells of it again. It reports
// whether anything was written.
func (u *Units) tell(ctx context.Context, units []unit) bool {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	look := u.rdb.Pipeline()
	slots, closures := make([]*redis.ZSliceCmd, len(units)), make([]*redis.StringCmd, len(units))
	for i, x := range units {
		limit := int64(u.policies[x.aspsp].Limit)
		slots[i] = look.ZRevRangeWithScores(ctx, x.slots(), max(limit-2, 0), limit-1)
		closures[i] = look.Get(ctx, x.closed())
	}
	_, _ = look.Exec(ctx)
	write, seen := u.rdb.Pipeline(), map[string]bool{}
	for i, x := range units {
		if err := closures[i].Err(); slots[i].Err() != nil || err != nil && !errors.Is(err, redis.Nil) {
			continue
		}
		for state, end := range u.ends(x.aspsp, slots[i].Val(), closures[i].Val()) {
			key := u.key(x.aspsp, state)
			if end > 0 {
				write.ZAdd(ctx, key, redis.Z{Score: end, Member: x.member()})
			} else {
				write.ZRem(ctx, key, x.member())
			}
		}
		seen[x.aspsp] = true
	}
	for aspsp := range seen {
		keys := u.keys(aspsp)
		for _, key := range keys {
			write.PExpire(ctx, key, 2*u.policies[aspsp].Window+10*time.Minute) // longer than any of its units stays
		}
		unitsScript.Eval(ctx, write, keys, batch) // so that the sets do not grow where nobody asks
	}
	_, err := write.Exec(ctx)
	return err == nil && len(seen) > 0
}

// ends are until when the unit is in each state, in microseconds by Redis's clock; 0 where it is not. newest are those of
// its slots that count: the last but as many as the limit has, and before it the one that makes room for two. A unit that is
// used up is the last one's next, and so stands in both.
func (u *Units) ends(aspsp string, newest []redis.Z, closed string) map[string]float64 {
	policy := u.policies[aspsp]
	window := float64(policy.Window.Microseconds())
	ends := map[string]float64{UnitsUsedUp: 0, UnitsLast: 0}
	ends[UnitsClosed], _ = strconv.ParseFloat(closed, 64)
	if policy.Limit > 1 && len(newest) > 0 {
		ends[UnitsLast] = newest[0].Score + window
		newest = newest[1:]
	}
	if len(newest) > 0 {
		ends[UnitsUsedUp] = newest[0].Score + window
	}
	return ends
}

// Count is how many units of each ASPSP are in each state, by the ASPSP's id. Redis is asked every 5 s at most, and has
// 200 ms: what it said, or did not, holds so long. ASPSPs that it says nothing of are not in it, nor those that allow no call.
func (u *Units) Count(ctx context.Context) map[string]map[string]int64 {
	u.reading.Lock()
	defer u.reading.Unlock()
	now := time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	if u.read.IsZero() || now.Sub(u.read) >= countEvery {
		u.counts = u.ask(ctx)
		u.read = now
	}
	return u.counts
}

func (u *Units) ask(ctx context.Context) map[string]map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	for _, run := range []eval{unitsScript.EvalSha, unitsScript.Eval} {
		pipe, said := u.rdb.Pipeline(), map[string]*redis.Cmd{}
		for id, policy := range u.policies {
			if policy.Limit > 0 {
				said[id] = run(ctx, pipe, u.keys(id), batch)
			}
		}
		if _, err := pipe.Exec(ctx); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			return counted(said)
		}
	}
	return nil
}

// counted is what Redis said: of a cluster, a node may have said nothing.
func counted(said map[string]*redis.Cmd) map[string]map[string]int64 {
	counts := map[string]map[string]int64{}
	for id, answer := range said {
		n, err := answer.Int64Slice()
		if err != nil || len(n) != 3 {
			continue
		}
		counts[id] = map[string]int64{UnitsUsedUp: n[0], UnitsLast: max(n[1]-n[0], 0), UnitsClosed: n[2]}
	}
	return counts
}

// key is the name of the set of an ASPSP's units in a state. Under another policy other units have other ends, and so
// another set.
func (u *Units) key(aspsp, state string) string {
	p := u.policies[aspsp]
	return store.Prefix("units", aspsp, strconv.Itoa(p.Limit), p.Window.String(), string(p.Unit)) + state
}

func (u *Units) keys(aspsp string) []string {
	return []string{u.key(aspsp, UnitsUsedUp), u.key(aspsp, UnitsLast), u.key(aspsp, UnitsClosed)}
}

// member is the unit's hash, as it stands in the names of its keys, as far as it is needed.
func (x unit) member() string {
	_, hash, _ := strings.Cut(x.prefix, "{")
	return hash[:memberSize]
}
