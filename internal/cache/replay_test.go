package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

const resultsFor = time.Minute

// newReplayID returns an id and the consents of its request.
func newReplayID() (cache.ReplayID, []cache.Key) {
	return cache.ReplayID{Client: "payments", Key: "report-" + uuid.NewString()}, []cache.Key{newCacheKey(), newCacheKey(), newCacheKey()}
}

func replayName(id cache.ReplayID) string {
	return store.Prefix("aggregations", id.Client, id.Key) + "results"
}

func result(text string) json.RawMessage { return json.RawMessage(fmt.Sprintf("{%q:true}", text)) }

// claim claims an aggregation that is not stored.
func claim(t *testing.T, c *cache.Cache, id cache.ReplayID, consents []cache.Key) cache.Replay {
	t.Helper()
	r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor)
	if err != nil || !r.Own || r.Run == "" {
		t.Fatalf("%+v, %v, want a run of this call", r, err)
	}
	return r
}

func storeResults(t *testing.T, c *cache.Cache, id cache.ReplayID, run string, results map[int]json.RawMessage, done bool) {
	t.Helper()
	if err := c.StoreResults(t.Context(), id, run, results, done); err != nil {
		t.Fatal(err)
	}
}

// replay returns the stored aggregation; nil if there is none.
func replay(t *testing.T, c *cache.Cache, id cache.ReplayID) *cache.Replay {
	t.Helper()
	r, ok, err := c.Replay(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return nil
	}
	return &r
}

func erase(t *testing.T, c *cache.Cache, k cache.Key) {
	t.Helper()
	if err := c.Erase(t.Context(), k); err != nil {
		t.Fatal(err)
	}
}

// TestRepeatGetsTheStoredRun: until the aggregation expires, a repeat gets the run that was stored
// first, with the results that it has stored since. Another client's key is another one.
func TestRepeatGetsTheStoredRun(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, rdb, newKey(t))
			id, consents := newReplayID()
			if replay(t, c, id) != nil {
				t.Fatal("an aggregation is stored before it began")
			}
			first := claim(t, c, id, consents)
			if left := first.Until.Sub(first.Now); first.Fingerprint != "fingerprint" || left <= 0 || left > resultsFor || first.Done || len(first.Results) != 0 {
				t.Errorf("%+v, results for %v", first, left)
			}
			again := func(results map[int]json.RawMessage, done bool) {
				t.Helper()
				r, err := c.Claim(t.Context(), id, "another fingerprint", consents, time.Hour)
				want := cache.Replay{Run: first.Run, Fingerprint: "fingerprint", Until: first.Until, Done: done, Results: results, Now: r.Now}
				if diff := cmp.Diff(want, r); err != nil || diff != "" || r.Now.Before(first.Now) {
					t.Errorf("%v, at %v (-want +got):\n%s", err, r.Now, diff)
				}
				if read := replay(t, c, id); read == nil || read.Run != first.Run || !maps.EqualFunc(read.Results, results, slices.Equal[json.RawMessage]) {
					t.Errorf("read: %+v", read)
				}
				parts := int64(1 + len(results))
				if done {
					parts++
				}
				if n := rdb.ZCard(t.Context(), replayName(id)).Val(); n != parts {
					t.Errorf("%d parts are stored, want %d", n, parts)
				}
			}
			again(map[int]json.RawMessage{}, false)
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("early"), 2: result("c")}, false)
			again(map[int]json.RawMessage{0: result("early"), 2: result("c")}, false)
			storeResults(t, c, id, uuid.NewString(), map[int]json.RawMessage{0: result("foreign"), 1: result("foreign")}, true)
			storeResults(t, c, id, first.Run, nil, false)
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("final")}, false)
			again(map[int]json.RawMessage{0: result("final"), 2: result("c")}, false)
			storeResults(t, c, id, first.Run, nil, true)
			again(map[int]json.RawMessage{0: result("final"), 2: result("c")}, true)

			other := id
			other.Client = "reports"
			if theirs := claim(t, c, other, nil); theirs.Run == first.Run {
				t.Error("two clients have one run")
			}
		})
	}
}

// TestAggregationExpires: an aggregation is stored for ten minutes from its claim, whatever is stored
// or read later. Then the key is that of a new run, for which the old one stores nothing.
func TestAggregationExpires(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, rdb, newKey(t))
			id, consents := newReplayID()
			first := claim(t, c, id, consents)
			left := func() time.Duration { return rdb.PTTL(t.Context(), replayName(id)).Val() }
			if got := left(); got <= 9*time.Minute || got > 10*time.Minute {
				t.Errorf("it is stored for %v", got)
			}
			shorten := func(d time.Duration) {
				t.Helper()
				if ok, err := rdb.PExpire(t.Context(), replayName(id), d).Result(); err != nil || !ok {
					t.Fatal(ok, err)
				}
			}
			shorten(5 * time.Minute)
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("a")}, false)
			if r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor); err != nil || r.Own {
				t.Errorf("%+v, %v", r, err)
			}
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("b")}, true)
			if got := left(); got <= 0 || got > 5*time.Minute {
				t.Errorf("it expires in %v, want five minutes", got)
			}
			shorten(time.Millisecond)
			eventually(t, "it has expired", func() bool { return replay(t, c, id) == nil })
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("late")}, true)
			if replay(t, c, id) != nil {
				t.Error("a late result is stored")
			}
			second := claim(t, c, id, consents)
			storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("late")}, true)
			if r := replay(t, c, id); second.Run == first.Run || r.Run != second.Run || len(r.Results) != 0 || r.Done {
				t.Errorf("%+v, want the second run without results", r)
			}
		})
	}
}

// TestOneOfTwoClaims: of two claims at the same time, neither of which has found an aggregation, one
// gets its own run, and the other one gets that run too.
func TestOneOfTwoClaims(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, claims := newCache(t, rdb, newKey(t)), make(chan cache.Replay, 2)
			id, consents := newReplayID()
			var both sync.WaitGroup
			both.Add(cap(claims))
			rdb.AddHook(redistest.Hook{Pipeline: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
				if cmds[0].Name() == "eval" && len(cmds) == len(consents) { // the index, after the aggregation was looked up
					both.Done()
					both.Wait()
				}
				return next(ctx, cmds)
			}})
			for range cap(claims) {
				go func() {
					r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor)
					if err != nil {
						t.Error(err)
					}
					claims <- r
				}()
			}
			first, second := <-claims, <-claims
			if first.Own == second.Own || first.Run == "" || first.Run != second.Run {
				t.Errorf("%+v, and %+v", first, second)
			}
		})
	}
}

// TestErasureDeletesAggregations: the deletion of a consent's cached data deletes all stored
// aggregations of the client that contain it, and nothing else. Their runs store nothing any more. An
// invalidation deletes none.
func TestErasureDeletesAggregations(t *testing.T) {
	t.Parallel()
	all := redises(t)
	all["cluster"] = open(t, config.Redis{Mode: config.Cluster, Addresses: redistest.StartCluster(t).Addrs})
	for name, rdb := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, rdb, newKey(t))
			id, consents := newReplayID()
			unrelated, others := newReplayID()
			kept := claim(t, c, unrelated, others)
			for i, k := range consents {
				first := claim(t, c, id, consents)
				second, _ := newReplayID()
				claim(t, c, second, consents[i:i+1])
				storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: result("a")}, false)
				if err := c.Invalidate(t.Context(), k); err != nil {
					t.Fatal(err)
				}
				for _, strange := range []cache.Key{newCacheKey(), {Client: "reports", ASPSP: k.ASPSP, Consent: k.Consent}} {
					erase(t, c, strange)
				}
				if replay(t, c, id) == nil || replay(t, c, second) == nil {
					t.Fatalf("consent %d: deleted too early", i)
				}
				erase(t, c, k)
				storeResults(t, c, id, first.Run, map[int]json.RawMessage{1: result("b")}, true)
				if replay(t, c, id) != nil || replay(t, c, second) != nil {
					t.Errorf("consent %d: an aggregation is still stored", i)
				}
				repeated := claim(t, c, id, consents)
				storeResults(t, c, id, first.Run, map[int]json.RawMessage{1: result("b")}, true)
				if r := replay(t, c, id); r.Run != repeated.Run || len(r.Results) != 0 || r.Done {
					t.Errorf("consent %d: the deleted run stores results: %+v", i, r)
				}
				erase(t, c, k)
			}
			if r := replay(t, c, unrelated); r == nil || r.Run != kept.Run {
				t.Errorf("an aggregation without the consents: %+v", r)
			}
		})
	}
}

// TestNoAggregationWithoutItsIndex: an aggregation that is stored during a deletion is deleted by the
// next one, and none is stored whose index cannot be written.
func TestNoAggregationWithoutItsIndex(t *testing.T) {
	t.Parallel()
	address := config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}
	key, down := newKey(t), errors.New("down")
	rdb, other := open(t, address), newCache(t, open(t, address), key)
	c := newCache(t, rdb, key)
	id, consents := newReplayID()
	var fails atomic.Bool
	fails.Store(true)
	rdb.AddHook(redistest.Hook{Pipeline: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		if fails.Load() {
			return down
		}
		err := next(ctx, cmds)
		erase(t, other, consents[1]) // after the index was written, and before the aggregation is stored
		return err
	}})
	if r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor); !errors.Is(err, down) || r.Own || replay(t, c, id) != nil {
		t.Errorf("%+v, %v", r, err)
	}
	fails.Store(false)
	claim(t, c, id, consents)
	if replay(t, c, id) == nil {
		t.Fatal("it is not stored")
	}
	erase(t, other, consents[1])
	if replay(t, c, id) != nil {
		t.Error("the next deletion does not find it")
	}
}

// TestIndexForgets: the index of a consent names an aggregation for longer than it is stored, and not
// forever.
func TestIndexForgets(t *testing.T) {
	t.Parallel()
	for name, rdb := range redises(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, rdb, newKey(t))
			id, consents := newReplayID()
			claim(t, c, id, consents)
			index := store.Prefix("accounts", consents[0].Client, consents[0].ASPSP, consents[0].Consent) + "aggregations"
			if err := rdb.ZAdd(t.Context(), index, redis.Z{Score: float64(time.Now().Add(-time.Minute).UnixMilli()), Member: "old"}).Err(); err != nil {
				t.Fatal(err)
			}
			later, _ := newReplayID()
			claim(t, c, later, consents[:1])
			names, err := rdb.ZRange(t.Context(), index, 0, -1).Result()
			want := []string{replayName(id), replayName(later)}
			slices.Sort(names)
			slices.Sort(want)
			if err != nil || !slices.Equal(names, want) {
				t.Errorf("%q, %v, want %q", names, err, want)
			}
			if left := rdb.PTTL(t.Context(), index).Val(); left <= 10*time.Minute || left > 20*time.Minute {
				t.Errorf("it is kept for %v", left)
			}
		})
	}
}

// TestErasureOfAggregationsIsRetried: a deletion is confirmed only when the aggregations are deleted,
// and until then none is returned.
func TestErasureOfAggregationsIsRetried(t *testing.T) {
	t.Parallel()
	t.Run("while the request waits", func(t *testing.T) {
		t.Parallel()
		rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
		c := newCache(t, rdb, newKey(t))
		id, consents := newReplayID()
		claim(t, c, id, consents)
		var failed atomic.Int32
		rdb.AddHook(redistest.Hook{
			Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
				if cmd.Name() == "zrangebyscore" && failed.CompareAndSwap(0, 1) {
					cmd.SetErr(replyError("LOADING"))
					return replyError("LOADING")
				}
				return next(ctx, cmd)
			},
			Pipeline: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
				if failed.CompareAndSwap(1, 2) {
					return replyError("LOADING")
				}
				return next(ctx, cmds)
			},
		})
		erase(t, c, consents[0])
		if failed.Load() != 2 || replay(t, c, id) != nil {
			t.Errorf("confirmed after %d failures, but it is still stored", failed.Load())
		}
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		c := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), newKey(t))
		id, consents := newReplayID()
		first := claim(t, c, id, consents)
		server.Stop()
		eraseLate(c, consents[1])
		server.Restart()
		for c.InvalidationPending(consents[1]) {
			if r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor); r.Run == first.Run {
				t.Fatalf("it is returned: %+v, %v", r, err)
			}
		}
		if r := replay(t, c, id); r != nil && r.Run == first.Run {
			t.Error("it is still stored")
		}
	})
}

// TestClaimThatWasExecutedBefore: a claim that was sent again because its reply was lost is still this
// call's, and a claim whose reply never arrives may be.
func TestClaimThatWasExecutedBefore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reply    error // in place of the first reply to a claim
		executed bool
		fails    bool
	}{
		"sent again":        {io.EOF, true, false},
		"no reply":          {context.DeadlineExceeded, true, true},
		"not sent in time":  {context.DeadlineExceeded, false, true},
		"refused by Redis":  {replyError("OOM"), false, true},
		"sent to a replica": {replyError("READONLY"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
			c := newCache(t, rdb, newKey(t))
			warm, consents := newReplayID()
			claim(t, c, warm, consents) // loads the script
			id, _ := newReplayID()
			var once atomic.Bool
			rdb.AddHook(redistest.Hook{Command: func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
				if cmd.Name() != "evalsha" || len(cmd.Args()) < 5 || once.Swap(true) { // not a claim
					return next(ctx, cmd)
				}
				if tt.executed {
					if err := next(ctx, cmd); err != nil {
						t.Error(err)
					}
				}
				cmd.SetErr(tt.reply)
				return tt.reply
			}})
			r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor)
			var refused redis.Error
			if r.Run == "" || r.Own == errors.As(tt.reply, &refused) || (err != nil) != tt.fails {
				t.Fatalf("%+v, %v", r, err)
			}
			storeResults(t, c, id, r.Run, map[int]json.RawMessage{0: result("a")}, true)
			if got := replay(t, c, id); (got != nil) != tt.executed || got != nil && (got.Run != r.Run || len(got.Results) != 1) {
				t.Errorf("%+v is stored for run %s", got, r.Run)
			}
		})
	}
}

// TestUnreadableAggregation: an aggregation that cannot be decrypted is neither returned nor
// overwritten.
func TestUnreadableAggregation(t *testing.T) {
	t.Parallel()
	old, young := newKey(t), newKey(t)
	results := map[int]json.RawMessage{0: result("a"), 1: result("b")}
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	writer, rotated := newCache(t, rdb, old), newCache(t, rdb, young, old)
	values := func(t *testing.T, id cache.ReplayID) map[int]string {
		t.Helper()
		all := map[int]string{}
		for _, z := range rdb.ZRangeWithScores(t.Context(), replayName(id), 0, -1).Val() {
			all[int(z.Score)], _ = z.Member.(string)
		}
		return all
	}
	later := func(id cache.ReplayID, v map[int]string, score, text string) string {
		return sealed(t, old, 2, replayName(id)+":"+v[-1][:36]+":"+score, text)
	}
	for name, change := range map[string]func(t *testing.T, id cache.ReplayID, v map[int]string){
		"unchanged":                     nil,
		"results swapped":               func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[0], v[1] = v[1], v[0] },
		"a result of a later schema":    func(_ *testing.T, id cache.ReplayID, v map[int]string) { v[1] = later(id, v, "1", "{}") },
		"a result cut off":              func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[1] = v[1][:20] },
		"a beginning of a later schema": func(_ *testing.T, id cache.ReplayID, v map[int]string) { v[-1] = v[-1][:36] + later(id, v, "-1", "{}") },
		"a beginning cut off":           func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[-1] = v[-1][:40] },
		"a beginning without an id":     func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[-1] = "x" },
		"no beginning":                  func(_ *testing.T, _ cache.ReplayID, v map[int]string) { delete(v, -1) },
		"a result under an unknown key": func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[1] = sealed(t, newKey(t), 1, "x", "{}") },
		"a beginning with another run":  func(_ *testing.T, _ cache.ReplayID, v map[int]string) { v[-1] = uuid.NewString() + v[-1][36:] },
		"the results of an earlier run": func(t *testing.T, id cache.ReplayID, v map[int]string) { v[0] = earlierRun(t, writer, rdb, id) },
		"the results of another key": func(t *testing.T, id cache.ReplayID, v map[int]string) {
			v[0] = earlierRun(t, writer, rdb, cache.ReplayID{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, consents := newReplayID()
			run := claim(t, writer, id, consents).Run
			storeResults(t, writer, id, run, results, true)
			if r := replay(t, rotated, id); r.Run != run || !maps.EqualFunc(r.Results, results, slices.Equal[json.RawMessage]) {
				t.Errorf("after a rotation: %+v", r)
			}
			reader := newCache(t, rdb, young)
			if change != nil {
				reader = newCache(t, rdb, old)
				changed := values(t, id)
				change(t, id, changed)
				if err := rdb.Del(t.Context(), replayName(id)).Err(); err != nil {
					t.Fatal(err)
				}
				for score, value := range changed {
					if err := rdb.ZAdd(t.Context(), replayName(id), redis.Z{Score: float64(score), Member: value}).Err(); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := values(t, id)
			if r, ok, err := reader.Replay(t.Context(), id); !errors.Is(err, cache.ErrUnreadable) || ok || len(r.Results) > 0 {
				t.Errorf("read: %+v, %v", r, err)
			}
			if r, err := reader.Claim(t.Context(), id, "fingerprint", consents, resultsFor); !errors.Is(err, cache.ErrUnreadable) || r.Own || r.Run != "" {
				t.Errorf("claimed: %+v, %v", r, err)
			}
			if diff := cmp.Diff(before, values(t, id)); diff != "" {
				t.Errorf("it was overwritten:\n%s", diff)
			}
			if unknown := strings.HasSuffix(name, "unknown key") || change == nil; reader.Unreadable() != unknown {
				t.Errorf("an unknown key is reported: %t", !unknown)
			}
		})
	}
}

// earlierRun returns what a run of an id has stored for source 0, if the id is not that of the test,
// or of an earlier run with it.
func earlierRun(t *testing.T, c *cache.Cache, rdb redis.UniversalClient, id cache.ReplayID) string {
	t.Helper()
	if id.Key == "" {
		id, _ = newReplayID()
	}
	if err := rdb.Del(t.Context(), replayName(id)).Err(); err != nil {
		t.Fatal(err)
	}
	run := claim(t, c, id, nil).Run
	storeResults(t, c, id, run, map[int]json.RawMessage{0: result("a")}, false)
	return rdb.ZRangeByScore(t.Context(), replayName(id), &redis.ZRangeBy{Min: "0", Max: "0"}).Val()[0]
}

// TestFormatOfAggregations: the cache reads an aggregation as docs/design.md describes it.
func TestFormatOfAggregations(t *testing.T) {
	t.Parallel()
	rdb, key := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), newKey(t)
	id, _ := newReplayID()
	name, run := replayName(id), uuid.NewString()
	seal := func(score, text string) string { return sealed(t, key, 1, name+":"+run+":"+score, text) }
	err := rdb.ZAdd(t.Context(), name,
		redis.Z{Score: -2, Member: "done"},
		redis.Z{Score: -1, Member: run + seal("-1", `{"Fingerprint":"f","Until":"2026-01-14T10:00:00Z","Later":1}`)},
		redis.Z{Score: 0, Member: seal("0", `{"a":1}`)},
		redis.Z{Score: 99, Member: seal("99", `{"b":1}`)},
	).Err()
	if err != nil {
		t.Fatal(err)
	}
	got := replay(t, newCache(t, rdb, key), id)
	if got == nil {
		t.Fatal("it is not found")
	}
	want := &cache.Replay{
		Run: run, Fingerprint: "f", Until: time.Date(2026, 1, 14, 10, 0, 0, 0, time.UTC), Done: true, Now: got.Now,
		Results: map[int]json.RawMessage{0: json.RawMessage(`{"a":1}`), 99: json.RawMessage(`{"b":1}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" || time.Since(got.Now).Abs() > time.Hour {
		t.Errorf("at %v (-want +got):\n%s", got.Now, diff)
	}
}

// TestNothingOfAnAggregationInClear: keys and values in Redis have no client, key, consent or account
// in clear, and expire.
func TestNothingOfAnAggregationInClear(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Start(t).Addr}})
	c := newCache(t, rdb, newKey(t))
	id := cache.ReplayID{Client: "payments", Key: "monthly-report-7"}
	k := cache.Key{Client: "payments", ASPSP: "4f1e2d3c-0000-4000-8000-000000000001", Consent: "GFiTpF3:EBy5xGqQMatk"}
	first, err := c.Claim(t.Context(), id, "fingerprint", []cache.Key{k}, resultsFor)
	if err != nil {
		t.Fatal(err)
	}
	storeResults(t, c, id, first.Run, map[int]json.RawMessage{0: entry().Accounts}, true)
	kinds, all := []string{}, ""
	for _, key := range rdb.Keys(t.Context(), "*").Val() {
		_, kind, _ := strings.Cut(key, "}:")
		kinds = append(kinds, kind)
		all += key + strings.Join(rdb.ZRange(t.Context(), key, 0, -1).Val(), "")
		if left := rdb.PTTL(t.Context(), key).Val(); left <= 0 {
			t.Errorf("%q never expires", key)
		}
	}
	if slices.Sort(kinds); !slices.Equal(kinds, []string{"aggregations", "results"}) {
		t.Errorf("kinds of keys: %q", kinds)
	}
	for _, secret := range []string{"GFiTpF3", "BG57INTF", "John", "q648383844", "payments", "EUR", "4f1e2d3c", "monthly", "fingerprint", "Until"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in clear", secret)
		}
	}
}

// TestAggregationsOfAFullRedis: above Redis's maxmemory nothing is stored, and what is stored is still
// returned to repeats and can be deleted. Without a permission, nothing is left that does not expire.
func TestAggregationsOfAFullRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	do := func(args ...any) {
		t.Helper()
		if err := server.Do(args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), newKey(t))
	id, consents := newReplayID()
	refused := func(when string) {
		t.Helper()
		before := server.Do("DBSIZE").Val()
		other, unknown := newReplayID()
		for _, consents := range [][]cache.Key{unknown, nil} { // the index is refused, or the aggregation
			if r, err := c.Claim(t.Context(), other, "fingerprint", consents, resultsFor); err == nil || replay(t, c, other) != nil {
				t.Errorf("%s: %+v, %v", when, r, err)
			}
		}
		if left := server.Do("DBSIZE").Val(); left != before {
			t.Errorf("%s: %v keys, %v before", when, left, before)
		}
	}
	for _, command := range []string{"zadd", "pexpire"} {
		do("ACL", "SETUSER", "default", "-"+command)
		refused("without " + command)
		do("ACL", "SETUSER", "default", "+"+command)
	}
	first := claim(t, c, id, consents)
	do("CONFIG", "SET", "maxmemory", "1")
	refused("without memory")
	if r, err := c.Claim(t.Context(), id, "fingerprint", consents, resultsFor); err != nil || r.Run != first.Run || r.Own {
		t.Errorf("%+v, %v, want the stored run", r, err)
	}
	if err := c.StoreResults(t.Context(), id, first.Run, map[int]json.RawMessage{0: result("a")}, true); err == nil {
		t.Error("a result is stored without memory")
	}
	if r := replay(t, c, id); len(r.Results) != 0 || r.Done {
		t.Errorf("%+v", r)
	}
	erase(t, c, consents[2])
	if replay(t, c, id) != nil {
		t.Error("it cannot be deleted")
	}
}

// TestLargeAggregation: an aggregation of 100 consents, one with a result of several MB, is stored and
// deleted as any other.
func TestLargeAggregation(t *testing.T) {
	t.Parallel()
	c := newCache(t, open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}}), newKey(t))
	id, consents, results := cache.ReplayID{Client: "payments", Key: uuid.NewString()}, []cache.Key{}, map[int]json.RawMessage{}
	for i := range 100 {
		consents = append(consents, newCacheKey())
		results[i] = result(strings.Repeat("x", 1000+i))
	}
	results[50] = result(strings.Repeat("x", 4<<20))
	storeResults(t, c, id, claim(t, c, id, consents).Run, results, true)
	if r := replay(t, c, id); !r.Done || !maps.EqualFunc(r.Results, results, slices.Equal[json.RawMessage]) {
		t.Errorf("%d results, done %t", len(r.Results), r.Done)
	}
	erase(t, c, consents[99])
	if replay(t, c, id) != nil {
		t.Error("it is not deleted")
	}
}
