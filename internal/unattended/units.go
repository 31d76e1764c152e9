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
	"ais-gateway/internal/recovery"
	"ais-gateway/internal/store"
)

// The states of units that are told of. Closed does not depend on the count: a unit may be closed and used up.
const (
	UnitUsedUp  = "used_up" // no call is left by our count
	UnitLast    = "last"    // one is
	UnitBlocked = "closed"  // the ASPSP said that none is
)

const (
	// maxDue bounds the units that wait to be told of. More than that are not told of.
	maxDue = 4096
	// settling is how long a unit is left alone, from the first change that is not told of, before its state is read and told: of
	// many changes at once the last counts. It is told of no later than as long again.
	settling = 100 * time.Millisecond
	// retrying is how long units wait that could not be told of.
	retrying = 2 * time.Second
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
// alone: nothing depends on them, and no call waits for them. What cannot be told is tried again as long as the process lives.
// They are safe for concurrent use.
type UnitStats struct {
	rdb      redis.UniversalClient
	policies map[string]config.Unattended
	within   time.Duration // of telling of a batch
	counting time.Duration // of reading the numbers

	mu   sync.Mutex
	due  map[counterKey]time.Time // since when each waits to be told of
	wake chan struct{}

	telling sync.Mutex // held while units are told of, and until those that could not be wait again

	reading sync.Mutex
	read    time.Time
	counts  map[string]map[string]int64
}

// NewUnits makes them for the ASPSPs in policies, by id. The client is better not the counter's own.
func NewUnitStats(rdb redis.UniversalClient, policies map[string]config.Unattended) *UnitStats {
	return &UnitStats{
		rdb: rdb, policies: policies, within: stepTimeout, counting: countTimeout,
		due: map[counterKey]time.Time{}, wake: make(chan struct{}, 1),
	}
}

// Within bounds what is done in Redis at once by d: tests are patient with a busy machine. It is called before the units are
// used.
func (u *UnitStats) Within(d time.Duration) *UnitStats {
	u.within, u.counting = d, d
	return u
}

// Tell has the counter tell of its units. It is called before the counter is used.
func (c *Counter) WithUnitStats(u *UnitStats) *Counter {
	c.units = u
	return c
}

// note has a unit told of soon. It never waits, and is nothing for no Units and where no call is allowed.
func (u *UnitStats) note(x counterKey) {
	if u == nil || u.policies[x.aspsp].Limit == 0 {
		return
	}
	u.wait(time.Now(), x) //nolint:forbidigo // the process's own monotonic time, as of a timer
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// wait has units wait to be told of, if there is room. One that waits already waits no longer for that.
func (u *UnitStats) wait(since time.Time, units ...counterKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, x := range units {
		if _, waits := u.due[x]; !waits && len(u.due) < maxDue {
			u.due[x] = since
		}
	}
}

// Run tells of units until ctx ends.
func (u *UnitStats) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		}
		for pause := settling; u.waiting(); {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = settling
			if !u.flush(ctx, time.Now().Add(-settling)) { //nolint:forbidigo // as in note
				pause = retrying
			}
		}
	}
}

// Flush tells at once of all units that wait, of those too that Run was just telling of, until Redis says nothing for a second.
func (u *UnitStats) Flush(ctx context.Context) {
	u.flush(ctx, time.Now()) //nolint:forbidigo // as in note
}

// flush tells of the units that have waited since before a time. Those that cannot be told of wait on, and it is false.
func (u *UnitStats) flush(ctx context.Context, before time.Time) (all bool) {
	defer recovery.Recover(ctx, slog.Default())
	u.telling.Lock()
	defer u.telling.Unlock()
	var left []counterKey
	for units := u.some(before); len(units) > 0; units = u.some(before) {
		untold := u.tell(ctx, units)
		left = append(left, untold...)
		if len(untold) == len(units) {
			break
		}
	}
	u.wait(before, left...)
	return len(left) == 0
}

func (u *UnitStats) waiting() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.due) > 0
}

// some takes a batch of the units that have waited since before a time.
func (u *UnitStats) some(before time.Time) (units []counterKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for x, since := range u.due {
		if len(units) == batch {
			break
		}
		if since.After(before) {
			continue
		}
		delete(u.due, x)
		units = append(units, x)
	}
	return units
}

// A standing is until when a unit is in each state, in microseconds by Redis's clock; 0 where it is not.
type standing struct{ usedUp, last, closed float64 }

// tell reads how the units stand and writes it down, until what it reads is what it has written: another gateway may have
// written in between what it had read before. It returns those units of which that is not sure.
func (u *UnitStats) tell(ctx context.Context, units []counterKey) (untold []counterKey) {
	ctx, cancel := context.WithTimeout(ctx, u.within)
	defer cancel()
	written := map[counterKey]standing{}
	for len(units) > 0 {
		stand := u.look(ctx, units)
		for _, x := range units {
			if _, said := stand[x]; !said {
				untold = append(untold, x)
			}
		}
		units = nil
		for x, s := range stand {
			if was, told := written[x]; !told || was != s {
				units = append(units, x)
				written[x] = s
			}
		}
		if len(units) > 0 && u.write(ctx, units, written) != nil {
			return append(untold, units...)
		}
	}
	return untold
}

// look reads how the units stand; those of which Redis does not say are left out.
func (u *UnitStats) look(ctx context.Context, units []counterKey) map[counterKey]standing {
	pipe := u.rdb.Pipeline()
	slots, closures := make([]*redis.ZSliceCmd, len(units)), make([]*redis.StringCmd, len(units))
	for i, x := range units {
		limit := int64(u.policies[x.aspsp].Limit)
		slots[i] = pipe.ZRevRangeWithScores(ctx, x.slots(), max(limit-2, 0), limit-1)
		closures[i] = pipe.Get(ctx, x.block())
	}
	_, _ = pipe.Exec(ctx)
	stand := map[counterKey]standing{}
	for i, x := range units {
		if err := closures[i].Err(); slots[i].Err() == nil && (err == nil || errors.Is(err, redis.Nil)) {
			stand[x] = u.standing(x.aspsp, slots[i].Val(), closures[i].Val())
		}
	}
	return stand
}

func (u *UnitStats) write(ctx context.Context, units []counterKey, stand map[counterKey]standing) error {
	pipe, aspsps := u.rdb.Pipeline(), map[string]bool{}
	for _, x := range units {
		s := stand[x]
		for state, end := range map[string]float64{UnitUsedUp: s.usedUp, UnitLast: s.last, UnitBlocked: s.closed} {
			key := u.key(x.aspsp, state)
			if end > 0 {
				pipe.ZAdd(ctx, key, redis.Z{Score: end, Member: x.member()})
			} else {
				pipe.ZRem(ctx, key, x.member())
			}
		}
		aspsps[x.aspsp] = true
	}
	for aspsp := range aspsps {
		keys := u.keys(aspsp)
		for _, key := range keys {
			pipe.PExpire(ctx, key, 2*u.policies[aspsp].Window+10*time.Minute) // longer than any of its units stays
		}
		unitsScript.Eval(ctx, pipe, keys, batch) // so that the sets do not grow where nobody asks
	}
	_, err := pipe.Exec(ctx)
	return err
}

// standing is how a unit stands. newest are those of its slots that count: the last but as many as the limit has, and before
// it the one that makes room for two. A unit that is used up is the last one's next, and so stands in both.
func (u *UnitStats) standing(aspsp string, newest []redis.Z, closed string) (s standing) {
	policy := u.policies[aspsp]
	window := float64(policy.Window.Microseconds())
	s.closed, _ = strconv.ParseFloat(closed, 64)
	if policy.Limit > 1 && len(newest) > 0 {
		s.last = newest[0].Score + window
		newest = newest[1:]
	}
	if len(newest) > 0 {
		s.usedUp = newest[0].Score + window
	}
	return s
}

// Count is how many units of each ASPSP are in each state, by the ASPSP's id. Redis is asked every 5 s at most, and has
// 200 ms: what it said, or did not, holds so long. ASPSPs that it says nothing of are not in it, nor those that allow no call.
func (u *UnitStats) Count(ctx context.Context) map[string]map[string]int64 {
	u.reading.Lock()
	defer u.reading.Unlock()
	now := time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	if u.read.IsZero() || now.Sub(u.read) >= countEvery {
		u.counts = u.ask(ctx)
		u.read = now
	}
	return u.counts
}

func (u *UnitStats) ask(ctx context.Context) map[string]map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, u.counting)
	defer cancel()
	for _, run := range []scriptRunner{unitsScript.EvalSha, unitsScript.Eval} {
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
		counts[id] = map[string]int64{UnitUsedUp: n[0], UnitLast: max(n[1]-n[0], 0), UnitBlocked: n[2]}
	}
	return counts
}

// key is the name of the set of an ASPSP's units in a state. Under another policy other units have other ends, and so
// another set.
func (u *UnitStats) key(aspsp, state string) string {
	p := u.policies[aspsp]
	return store.Prefix("units", aspsp, strconv.Itoa(p.Limit), p.Window.String(), string(p.Unit)) + state
}

func (u *UnitStats) keys(aspsp string) []string {
	return []string{u.key(aspsp, UnitUsedUp), u.key(aspsp, UnitLast), u.key(aspsp, UnitBlocked)}
}

// member is the unit's hash, as it stands in the names of its keys, as far as it is needed.
func (x counterKey) member() string {
	_, hash, _ := strings.Cut(x.prefix, "{")
	return hash[:memberSize]
}
