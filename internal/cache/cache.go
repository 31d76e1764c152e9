// Package cache keeps account lists in Redis, encrypted, each for one client alone, and the leases by which
// many gateways make one call. It fails open: whoever asks it can always go on without an answer from it.
// internal/gateway calls it.
package cache

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/store"
)

var (
	//go:embed acquire.lua
	acquireSource string
	//go:embed finish.lua
	finishSource string
	//go:embed forget.lua
	forgetSource string

	acquireScript = redis.NewScript(acquireSource)
	finishScript  = redis.NewScript(finishSource)
	forgetScript  = redis.NewScript(forgetSource)
)

const (
	// noteFor is how long the outcome of a shared call stands for those who wait for it.
	noteFor = 10 * time.Second
	// epochFor is how long it is known that a list was forgotten: longer than any call may be under way.
	epochFor = 24 * time.Hour
)

// A Cache is a place for account lists. It is safe for concurrent use.
type Cache struct {
	rdb  redis.UniversalClient
	seal sealer
}

// New makes a cache that encrypts under the first of the keys and decrypts under all. A key is 32 bytes.
func New(rdb redis.UniversalClient, keys [][]byte) (*Cache, error) {
	seal, err := newSealer(keys)
	if err != nil {
		return nil, err
	}
	return &Cache{rdb: rdb, seal: seal}, nil
}

// A Key is whose list it is. All three must be the same for a list to be answered.
type Key struct{ Client, ASPSP, Consent string }

func (k Key) prefix() string { return store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) }

// An Entry is a list that was fetched.
type Entry struct {
	Accounts  []canonical.Account
	FetchedAt time.Time
}

// Get reads the list that is kept, nil if there is none. What cannot be decrypted or read is none.
func (c *Cache) Get(ctx context.Context, k Key) (*Entry, error) {
	name := k.prefix() + "list"
	value, err := c.rdb.Get(ctx, name).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.open(name, value), nil
}

// Forget drops the list, and begins a new epoch, so that no call which is under way brings it back.
func (c *Cache) Forget(ctx context.Context, k Key) error {
	p := k.prefix()
	return forgetScript.Run(ctx, c.rdb, []string{p + "list", p + "epoch"}, uuid.NewString(), epochFor.Milliseconds()).Err()
}

// A Lease is the right to make the one call for a list, or the knowledge of who has it.
type Lease struct {
	Held   bool // by the one who asked; else by another
	key    Key
	lane   string
	holder string
	epoch  string // in which it was asked for
}

// Asked reports whether Redis was asked for the lease at all.
func (l Lease) Asked() bool { return l.holder != "" }

// Acquire asks for the right to make the call, for ttl at most, and in the same step reads what is kept: a call
// that ended just before is seen. Calls of different lanes do not share their outcome. A holder that dies loses
// its lease after ttl. With an error, the lease may have been given all the same: whoever goes on and calls
// finishes it.
func (c *Cache) Acquire(ctx context.Context, k Key, lane string, ttl time.Duration) (Lease, *Entry, error) {
	p := k.prefix()
	lease := Lease{key: k, lane: lane, holder: uuid.NewString()}
	keys := []string{p + "lease:" + lane, p + "epoch", p + "list"}
	got, err := acquireScript.Run(ctx, c.rdb, keys, lease.holder, ttl.Milliseconds()).StringSlice()
	if err != nil {
		return lease, nil, err
	}
	lease.Held = got[0] == lease.holder
	lease.holder, lease.epoch = got[0], got[1]
	return lease, c.open(p+"list", []byte(got[2])), nil
}

// An Outcome is what those who wait for a call are told of it.
type Outcome struct {
	Held    bool             // the call is still under way
	Done    bool             // the call has ended as the next two say; neither Held nor Done: its holder died
	Failure *canonical.Error // nil if the list was fetched
	Entry   *Entry           // what is kept; nil after a failure, and if it was forgotten since
}

// A Result is how a call ended.
type Result struct {
	Entry   *Entry           // what was fetched; nil after a failure, and if what is kept is the result
	KeepFor time.Duration    // how long the entry is kept
	Failure *canonical.Error // nil with an entry
	Forget  bool             // after a failure: what was kept must go
}

// Finish gives a held lease back and leaves the result for those who wait. held is false if the lease had run
// out or the list was forgotten meanwhile: then the result goes nowhere.
func (c *Cache) Finish(ctx context.Context, l Lease, r Result) (held bool, err error) {
	p := l.key.prefix()
	var value []byte
	if r.Entry != nil {
		if value, err = c.seal.seal(p+"list", marshal(r.Entry)); err != nil {
			return false, err
		}
	}
	keys := []string{p + "lease:" + l.lane, p + "list", p + "note:" + l.holder, p + "epoch"}
	err = finishScript.Run(ctx, c.rdb, keys, l.holder, l.epoch, value, r.KeepFor.Milliseconds(), r.Forget,
		epochFor.Milliseconds(), marshal(r.Failure), noteFor.Milliseconds()).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// Outcome looks at what became of the call whose lease another holds.
func (c *Cache) Outcome(ctx context.Context, l Lease) (Outcome, error) {
	p := l.key.prefix()
	values, err := c.rdb.MGet(ctx, p+"note:"+l.holder, p+"lease:"+l.lane, p+"list").Result()
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Held: values[1] == l.holder}
	note, _ := values[0].(string)
	list, _ := values[2].(string)
	// A note that is missing or cannot be read is none.
	if out.Done = json.Unmarshal([]byte(note), &out.Failure) == nil; out.Done {
		out.Entry = c.open(p+"list", []byte(list))
	}
	return out, nil
}

func (c *Cache) open(name string, value []byte) *Entry {
	text, ok := c.seal.open(name, value)
	var e Entry
	if !ok || json.Unmarshal(text, &e) != nil || e.FetchedAt.IsZero() {
		return nil
	}
	return &e
}

// marshal writes types that always have a JSON form.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
