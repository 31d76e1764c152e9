package cache

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store"
	"ais-gateway/internal/store/send"
)

var (
	//go:embed replay.lua
	replaySource string
	//go:embed record.lua
	recordSource string
	//go:embed index.lua
	indexSource string

	replayScript = redis.NewScript(replaySource)
	recordScript = redis.NewScript(recordSource)
	indexScript  = redis.NewScript(indexSource)
)

const (
	// replayTTL is how long an aggregation is stored, from its beginning.
	replayTTL = 10 * time.Minute
	// indexTTL is how long a consent's index names an aggregation. It is longer than replayTTL,
	// because Redis may store the aggregation later than the entry.
	indexTTL = 2 * replayTTL
	// replaySchema is the number of the form of what is sealed in aggregations. It increases if an
	// older gateway could not use it.
	replaySchema = 1
)

// The scores of what is not the result of a source in a stored aggregation.
const (
	beginningScore = -1 // the run's id, in clear, and its beginning, sealed
	doneScore      = -2 // exists if the run has stored all results
)

// runSize is the length of a run's id.
const runSize = 36

// ErrUnreadable means that an aggregation is stored, and that this gateway cannot decrypt it: it is
// under a key that the gateway does not have, of a later schema, or damaged. A repeat must then be
// refused. It may neither overwrite the aggregation nor read the sources without it: the run has
// made calls, and a repeat makes none.
var ErrUnreadable = errors.New("the stored aggregation cannot be decrypted")

// A ReplayID identifies a stored aggregation: one idempotency key of one client.
type ReplayID struct{ Client, Key string }

func (id ReplayID) name() string {
	return store.Prefix("aggregations", id.Client, id.Key) + "results"
}

// indexName returns the name of the consent's index: the stored aggregations that contain it.
func (k Key) indexName() string { return k.prefix() + "aggregations" }

// A Replay is a stored aggregation.
type Replay struct {
	Run         string                  // random id of the run that stores results
	Own         bool                    // this call has claimed it, or may have, after an error
	Fingerprint string                  // of the request
	Until       time.Time               // by Redis's clock: no result is expected after it
	Done        bool                    // the run has stored all results
	Now         time.Time               // by Redis's clock when it was read
	Results     map[int]json.RawMessage // by source index
}

// storedBeginning is stored when a run is claimed.
type storedBeginning struct {
	Fingerprint string
	Until       time.Time
}

// Claim stores the beginning of a run, unless one was stored under the id within the last ten
// minutes; then it returns that one, and writes nothing. consents are those of the request, and until
// is how long from now results may arrive.
//
// It returns ErrUnreadable if an aggregation is stored that cannot be decrypted. With another error it
// returns the run as Own if Redis may have stored it, or may still do so: a run that continues stores
// its results under it, so that a repeat finds them.
func (c *Cache) Claim(ctx context.Context, id ReplayID, fingerprint string, consents []Key, until time.Duration) (Replay, error) {
	if slices.ContainsFunc(consents, func(k Key) bool { return c.invalidations.queue.Pending(deletion{k, true}) }) {
		return Replay{}, errors.New("a deletion of cached data of the aggregation is pending")
	}
	stored, ok, err := c.Replay(ctx, id) // a repeat needs no memory in Redis
	if ok || err != nil {
		return stored, err
	}
	name, run := id.name(), uuid.NewString()
	beginning := marshal(storedBeginning{Fingerprint: fingerprint, Until: stored.Now.Add(until)})
	sealed, err := c.sealer.Load().Seal(replaySchema, replayPart(name, run, beginningScore), beginning)
	if err != nil {
		return Replay{}, err
	}
	// The index first: an aggregation is never stored without it.
	index := c.rdb.Pipeline()
	for _, k := range consents {
		indexScript.Eval(ctx, index, []string{k.indexName()}, name, indexTTL.Milliseconds())
	}
	if _, err := index.Exec(ctx); err != nil {
		return Replay{}, err
	}
	stored, _, err = c.runReplay(ctx, name, run+string(sealed), beginningScore, replayTTL.Milliseconds())
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return Replay{Run: run, Own: !store.NotExecuted(c.rdb, err)}, err
	}
	stored.Own = stored.Run == run
	return stored, err
}

// Replay returns the stored aggregation, or ErrUnreadable if it cannot be decrypted. ok is false if
// there is none.
func (c *Cache) Replay(ctx context.Context, id ReplayID) (stored Replay, ok bool, err error) {
	return c.runReplay(ctx, id.name())
}

// runReplay runs replay.lua, and decrypts the aggregation. Without one it returns only Redis's time.
func (c *Cache) runReplay(ctx context.Context, name string, args ...any) (Replay, bool, error) {
	reply, err := send.Run(ctx, replayScript, c.rdb, []string{name}, args...).StringSlice()
	if err != nil {
		return Replay{}, false, err
	}
	if len(reply)%2 == 0 {
		return Replay{}, false, errScriptReply
	}
	micros, _ := strconv.ParseInt(reply[0], 10, 64)
	stored := Replay{Now: time.UnixMicro(micros).UTC(), Results: map[int]json.RawMessage{}}
	for part := range slices.Chunk(reply[1:], 2) { // by score
		value := part[0]
		score, err := strconv.Atoi(part[1])
		if err != nil || score < beginningScore {
			stored.Done = stored.Done || score == doneScore
			continue
		}
		if score == beginningScore {
			size := min(len(value), runSize)
			stored.Run, value = value[:size], value[size:]
		}
		text, ok := c.openReplay(name, stored.Run, score, value)
		if ok && score == beginningScore {
			var beginning storedBeginning
			ok = json.Unmarshal(text, &beginning) == nil
			stored.Fingerprint, stored.Until = beginning.Fingerprint, beginning.Until
		} else {
			stored.Results[score] = text
		}
		if !ok {
			return Replay{}, false, ErrUnreadable
		}
	}
	return stored, stored.Run != "", nil
}

// openReplay decrypts a value of an aggregation.
func (c *Cache) openReplay(name, run string, score int, value string) ([]byte, bool) {
	sealer := c.sealer.Load()
	if sealer.UnderUnknownKey([]byte(value)) {
		c.unknown.report()
	}
	schema, text, ok := sealer.Open(replayPart(name, run, score), []byte(value))
	return text, ok && schema == replaySchema
}

// replayPart returns the name with which a value of an aggregation is sealed: one of another
// aggregation, run or source cannot be opened.
func replayPart(name, run string, score int) string {
	return name + ":" + run + ":" + strconv.Itoa(score)
}

// StoreResults stores results of a run by source index. done means that the run has no others. It
// stores nothing, without an error, if the aggregation has expired, was deleted or belongs to another
// run.
func (c *Cache) StoreResults(ctx context.Context, id ReplayID, run string, results map[int]json.RawMessage, done bool) error {
	name, args := id.name(), []any{run, beginningScore}
	for source, text := range results {
		sealed, err := c.sealer.Load().Seal(replaySchema, replayPart(name, run, source), text)
		if err != nil {
			return err
		}
		args = append(args, source, sealed)
	}
	if done {
		args = append(args, doneScore, "done")
	}
	return send.Run(ctx, recordScript, c.rdb, []string{name}, args...).Err()
}

// eraseReplays deletes all stored aggregations that contain the consent, so that their runs store no
// further results. The index stays until it expires: an aggregation that is stored only now began
// before, and the next deletion must find it.
func (c *Cache) eraseReplays(ctx context.Context, k Key) error {
	names, err := c.rdb.ZRangeByScore(ctx, k.indexName(), &redis.ZRangeBy{Min: "-inf", Max: "+inf"}).Result()
	if err != nil || len(names) == 0 {
		return err
	}
	deletions := c.rdb.Pipeline()
	for _, name := range names { // each on its own node of a cluster
		deletions.Del(ctx, name)
	}
	_, err = deletions.Exec(ctx)
	return err
}
