// Package cache keeps account lists in Redis, encrypted, each for one client alone, and the leases by which
// many gateways make one call. Ages are Redis's: gateways' clocks may differ. It fails open: whoever asks it can always go on without an answer from it.
// internal/gateway calls it.
package cache

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended"
)

var (
	//go:embed acquire.lua
	acquireSource string
	//go:embed finish.lua
	finishSource string
	//go:embed look.lua
	lookSource string

	acquireScript = redis.NewScript(acquireSource)
	finishScript  = redis.NewScript(finishSource)
	lookScript    = redis.NewScript(lookSource)

	errUnreadable = errors.New("redis answered what the script does not")
)

const (
	// noteFor is how long the outcome of a shared call stands for those who wait for it.
	outcomeTTL = 10 * time.Second
	// finishFor is how long after its lease's end the result of a call may still arrive.
	finishFor = 30 * time.Second
	// aheadAtMost is by how much a list may be from the future: as far as Redis's clock may jump back when another
	// server takes over.
	maxClockSkew = time.Minute
)

// A Cache is a place for account lists. It is safe for concurrent use.
type Cache struct {
	rdb     redis.UniversalClient
	seal    atomic.Pointer[sealer]
	foreign foreign
}

// New makes a cache that encrypts under the first of the keys and decrypts under all. A key is 32 bytes.
func New(rdb redis.UniversalClient, keys [][]byte) (*Cache, error) {
	c := &Cache{rdb: rdb}
	return c, c.SetKeys(keys)
}

// Rekey encrypts and decrypts under other keys from now on. With an error, it goes on with those it has. What was kept
// under a key that is no longer there is none.
func (c *Cache) SetKeys(keys [][]byte) error {
	seal, err := newSealer(keys)
	if err == nil {
		c.seal.Store(&seal)
	}
	return err
}

// A Key is whose list it is. All three must be the same for a list to be answered.
type Key struct{ Client, ASPSP, Consent string }

func (k Key) prefix() string { return store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) }

// An Entry is a list that was fetched.
type Entry struct {
	Accounts  json.RawMessage // as canonical.EncodeAccounts returns it
	FetchedAt time.Time       // by Redis's clock, Lease.At
	Age       time.Duration   // by Redis's clock when it was read
	// Unreadable says that the list is encrypted under a key that the cache does not have. It has no accounts then.
	Unreadable bool
}

// Get reads the list that is kept, nil if there is none, and the time by Redis's clock. What cannot be decrypted or
// read is none, except for an Unreadable list.
func (c *Cache) Get(ctx context.Context, k Key) (*Entry, time.Time, error) {
	name := k.prefix() + "list"
	now, values, err := c.look(ctx, name)
	if err != nil {
		return nil, now, err
	}
	return c.openEntry(name, values[0], now), now, nil
}

// look reads values, "" for those that are not there, and the time, in one round trip. All gateways have this one
// clock: their own may differ.
func (c *Cache) look(ctx context.Context, names ...string) (now time.Time, values []string, err error) {
	read, err := lookScript.Run(ctx, c.rdb, names).Slice()
	if err != nil {
		return now, nil, err
	}
	if len(read) != len(names)+1 {
		return now, nil, errUnreadable
	}
	micros, _ := read[0].(int64)
	for _, v := range read[1:] {
		text, _ := v.(string)
		values = append(values, text)
	}
	return time.UnixMicro(micros).UTC(), values, nil
}

// Forget deletes the list, and the register of calls in progress, so that none of them stores it again. It writes nothing,
// and so needs no memory.
func (c *Cache) Invalidate(ctx context.Context, k Key) error {
	p := k.prefix()
	return c.rdb.Del(ctx, p+"list", p+"calls").Err()
}

// Erase is Forget, and also deletes what is remembered of refusals and pages.
func (c *Cache) Erase(ctx context.Context, k Key) error {
	p := k.prefix()
	return c.rdb.Del(ctx, p+"list", p+"calls", p+"refused", p+"pages").Err()
}

// A Lease is the right to make the one call, or the knowledge of who has it.
type Lease struct {
	Held      bool // by the one who asked; else by another
	key       Key
	lane      string
	holder    string
	lists     bool      // a list was asked for
	grantedAt time.Time // by Redis's clock; zero if Redis did not say
	localAt   time.Time // the same moment by this process's
}

// Asked reports whether Redis may have given the lease, to whomever.
func (l Lease) Pending() bool { return l.holder != "" }

// Known reports whether Redis has said to whom it gave the lease.
func (l Lease) Granted() bool { return !l.grantedAt.IsZero() }

// At is a moment of this process's, as of time.Now, by Redis's clock. Only a lease that is Known can tell.
func (l Lease) RedisTime(moment time.Time) time.Time { return l.grantedAt.Add(moment.Sub(l.localAt)) }

// Acquire asks for the right to make a call whose outcome is not kept, for ttl at most. Calls of different lanes do
// not share their outcome. A holder that dies loses its lease after ttl. With an error, the lease may have been given
// all the same, or be given later: whoever goes on and calls finishes it, if it was Asked for.
func (c *Cache) Acquire(ctx context.Context, k Key, lane string, ttl time.Duration) (Lease, error) {
	lease, _, err := c.acquire(ctx, k, lane, ttl)
	return lease, err
}

// AcquireList is Acquire for the call for a list, and in the same step reads what is kept: a call that ended just
// before is seen.
func (c *Cache) AcquireList(ctx context.Context, k Key, lane string, ttl time.Duration) (Lease, *Entry, error) {
	name := k.prefix() + "list"
	lease, list, err := c.acquire(ctx, k, lane, ttl, name)
	if err != nil {
		return lease, nil, err
	}
	return lease, c.openEntry(name, list, lease.grantedAt), nil
}

func (c *Cache) acquire(ctx context.Context, k Key, lane string, ttl time.Duration, more ...string) (Lease, string, error) {
	p := k.prefix()
	lease := Lease{key: k, lane: lane, holder: uuid.NewString(), lists: len(more) > 0}
	keys := append([]string{p + "lease:" + lane, p + "calls"}, more...)
	life := ttl + finishFor
	got, err := acquireScript.Run(ctx, c.rdb, keys, lease.holder, ttl.Milliseconds(), life.Milliseconds()).StringSlice()
	switch {
	case err != nil && store.NotExecuted(c.rdb, err):
		return Lease{}, "", err
	case err != nil:
		return lease, "", err
	}
	if len(got) != 3 {
		return lease, "", errUnreadable
	}
	micros, err := strconv.ParseInt(got[1], 10, 64)
	if err != nil {
		return lease, "", errUnreadable
	}
	lease.Held = got[0] == lease.holder
	lease.holder, lease.grantedAt = got[0], time.UnixMicro(micros).UTC()
	lease.localAt = time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	return lease, got[2], nil
}

// Balances are an account's balances on their way to those who wait for them. They are never kept for others.
type Balances struct {
	canonical.AccountBalances
	FetchedAt time.Time     // as an Entry's
	Age       time.Duration `json:"-"` // as an Entry's
}

// An Outcome is what those who wait for a call are told of it.
type LeaderOutcome struct {
	Held     bool              // the call is still under way
	Done     bool              // the call has ended as the others say; neither Held nor Done: its holder died
	Failure  *canonical.Error  // nil if the call went well
	Entry    *Entry            // the list that is kept; nil after a failure, and if it was forgotten since
	Balances *Balances         // nil after a failure, and where a list was asked for
	Usage    *unattended.Usage // after the call's last step of the counter; nil if there was none
}

// A Result is how a call ended.
type CallResult struct {
	Entry    *Entry            // the list that was fetched; nil after a failure, and if what is kept is the result
	KeepFor  time.Duration     // how long the entry is kept
	FreshFor time.Duration     // how long a list that no key opens is not overwritten
	Balances *Balances         // that were fetched
	Failure  *canonical.Error  // nil if the call went well
	Began    time.Time         // when the call began, by Redis's clock; zero if not before the lease was given
	Ended    time.Time         // when the call ended, by Redis's clock: who asked later is not told; zero tells nobody
	Forget   bool              // after a failure: what was kept must go
	Usage    *unattended.Usage // after the call's last step of the counter; nil if there was none
}

// A note is what stands in Redis for those who wait.
type outcomeRecord struct {
	Failure  *canonical.Error
	Balances *Balances
	Ended    time.Time // of the call, by Redis's clock
	Usage    *unattended.Usage
}

// An End is what became of a lease that was given back.
type PublishResult struct {
	Held bool // it was there: those who wait were told, if the call's end is known
	// Stands says that the result is what is stored now. It is not if another has the lease, if a newer list is stored, if
	// Redis has no memory for it, or if the list may have been deleted since the call began.
	Stands bool
}

// Finish gives a lease back and leaves the result for those who wait.
func (c *Cache) Finish(ctx context.Context, l Lease, r CallResult) (PublishResult, error) {
	p := l.key.prefix()
	lease, list, left, calls := p+"lease:"+l.lane, p+"list", p+"note:"+l.holder, p+"calls"
	var entry, told []byte
	var err error
	if r.Entry != nil {
		date := dated(r.Entry)
		if entry, err = c.seal.Load().seal(listSchema, list, append([]byte(date), r.Entry.Accounts...)); err != nil {
			return PublishResult{}, err
		}
		entry = append([]byte(date), entry...)
	}
	if !r.Ended.IsZero() {
		if told, err = c.seal.Load().seal(noteSchema, left, marshal(outcomeRecord{r.Failure, r.Balances, r.Ended, r.Usage})); err != nil {
			return PublishResult{}, err
		}
	}
	// The call was not registered when it began: the list may have been deleted between then and the lease.
	late := !r.Began.IsZero() && r.Began.Before(l.grantedAt)
	was, err := finishScript.Run(ctx, c.rdb, []string{lease, list, left, calls}, l.holder, entry, r.KeepFor.Milliseconds(),
		r.Forget, told, outcomeTTL.Milliseconds(), late, c.seal.Load().ids(), r.FreshFor.Microseconds(), listSchema).Int()
	if errors.Is(err, redis.Nil) {
		return PublishResult{}, nil
	}
	return PublishResult{Held: was&1 != 0, Stands: was&2 != 0}, err
}

// Outcome looks at what became of the call whose lease another holds.
func (c *Cache) Outcome(ctx context.Context, l Lease) (LeaderOutcome, error) {
	p := l.key.prefix()
	left, list := p+"note:"+l.holder, p+"list"
	names := []string{left, p + "lease:" + l.lane}
	if l.lists {
		names = append(names, list)
	}
	now, values, err := c.look(ctx, names...)
	if err != nil {
		return LeaderOutcome{}, err
	}
	out := LeaderOutcome{Held: values[1] == l.holder}
	var told outcomeRecord
	// A note that is missing or cannot be read is none, and so is one of a call that had ended before it was asked for.
	if out.Done = c.open(left, values[0], &told) && !told.Ended.Before(l.grantedAt); out.Done {
		out.Failure, out.Balances, out.Usage = told.Failure, told.Balances, told.Usage.At(now)
		if l.lists {
			out.Entry = c.openEntry(list, values[2], now)
		}
	}
	if out.Balances != nil {
		out.Balances.Age = max(now.Sub(out.Balances.FetchedAt), 0)
	}
	return out, nil
}

// open decrypts a note and reads it.
func (c *Cache) open(name, value string, into *outcomeRecord) bool {
	seal := c.seal.Load()
	if seal.foreign([]byte(value)) {
		c.foreign.note()
		return false
	}
	schema, text, ok := seal.open(name, []byte(value))
	return ok && schema == noteSchema && json.Unmarshal(text, into) == nil
}

// A stored list is: date, sealed (date, accounts). The schema of the accounts is the first byte of what is sealed.
const (
	// dateSize is how long a date is.
	dateSize = 16
	// listSchema is the number of the JSON form of cached accounts. It increases if the API's form changes: a list of a lower
	// number is then decoded and encoded again; one of a higher number, which a newer gateway stored, is a miss and is not
	// overwritten while that gateway serves it without a call.
	listSchema = 1
	// noteSchema is the number of the form of notes.
	noteSchema = 1
)

// dated is the time of a list in µs, in digits: a script that cannot decrypt the list can still compare times.
func dated(e *Entry) string { return fmt.Sprintf("%0*d", dateSize, e.FetchedAt.UnixMicro()) }

// openEntry returns a list and its age, nil if it cannot be read or is from the future: its age is not known then.
func (c *Cache) openEntry(name, value string, now time.Time) *Entry {
	date, sealed := value[:min(len(value), dateSize)], []byte(value[min(len(value), dateSize):])
	micros, err := strconv.ParseInt(date, 10, 64)
	fetched := time.UnixMicro(micros).UTC()
	if err != nil || micros == 0 || fetched.Sub(now) > maxClockSkew || len(sealed) == 0 || sealed[0] > listSchema {
		return nil
	}
	e := Entry{FetchedAt: fetched, Age: max(now.Sub(fetched), 0)}
	if c.seal.Load().foreign(sealed) {
		c.foreign.note()
		e.Unreadable = true
		return &e
	}
	schema, text, ok := c.seal.Load().open(name, sealed)
	if !ok || len(text) < dateSize || string(text[:dateSize]) != date {
		return nil
	}
	if e.Accounts = text[dateSize:]; schema < listSchema {
		e.Accounts = encodedAgain(e.Accounts)
	}
	if e.Accounts == nil {
		return nil
	}
	return &e
}

// encodedAgain returns accounts of an earlier schema in the form of today's; nil if they cannot be decoded.
func encodedAgain(stored []byte) json.RawMessage {
	var list []canonical.Account
	if json.Unmarshal(stored, &list) != nil {
		return nil
	}
	again, err := canonical.EncodeAccounts(list)
	if err != nil {
		return nil
	}
	return again
}

// marshal writes types that always have a JSON form.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
