// Package cache stores account lists in Redis, encrypted and per client, and the leases by which gateways share one call. Ages
// use Redis's clock, because the gateways' clocks may differ. It fails open: after an error, a request continues without it.
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
	//go:embed publish.lua
	publishSource string
	//go:embed read.lua
	readSource string

	acquireScript = redis.NewScript(acquireSource)
	publishScript = redis.NewScript(publishSource)
	readScript    = redis.NewScript(readSource)

	errScriptReply = errors.New("unexpected response of a script")
)

const (
	// outcomeTTL is how long the outcome of a shared call is stored for the requests that wait for it.
	outcomeTTL = 10 * time.Second
	// resultTTL is how long after the end of its lease the result of a call may still be stored.
	resultTTL = 30 * time.Second
	// maxClockSkew is how far in the future a list's time may be: Redis's clock may jump back in a failover.
	maxClockSkew = time.Minute
)

// A Cache stores account lists. It is safe for concurrent use.
type Cache struct {
	rdb     redis.UniversalClient
	sealer  atomic.Pointer[sealer]
	unknown unknownKeys
}

// New returns a cache that encrypts with the first key and decrypts with all. It fails if a key does not have 32 bytes.
func New(rdb redis.UniversalClient, keys [][]byte) (*Cache, error) {
	c := &Cache{rdb: rdb}
	return c, c.SetKeys(keys)
}

// SetKeys replaces the keys. After an error, the old keys stay in use.
func (c *Cache) SetKeys(keys [][]byte) error {
	seal, err := newSealer(keys)
	if err == nil {
		c.sealer.Store(&seal)
	}
	return err
}

// A Key identifies a cached list. A list is served only if all three are equal.
type Key struct{ Client, ASPSP, Consent string }

func (k Key) prefix() string { return store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) }

// An Entry is an account list.
type Entry struct {
	Accounts  json.RawMessage // as canonical.EncodeAccounts returns it
	FetchedAt time.Time       // by Redis's clock, see Lease.RedisTime
	Age       time.Duration   // by Redis's clock when it was read
	// Unreadable means that the list is encrypted under a key that the cache does not have. Accounts is nil then.
	Unreadable bool
}

// Get returns the cached list and the time by Redis's clock. The entry is nil if there is none, or if it cannot be decoded.
func (c *Cache) Get(ctx context.Context, k Key) (*Entry, time.Time, error) {
	name := k.prefix() + "list"
	now, values, err := c.mgetWithTime(ctx, name)
	if err != nil {
		return nil, now, err
	}
	return c.decodeEntry(name, values[0], now), now, nil
}

// mgetWithTime returns values, "" for missing ones, and the time by Redis's clock, in one round trip.
func (c *Cache) mgetWithTime(ctx context.Context, names ...string) (now time.Time, values []string, err error) {
	read, err := readScript.Run(ctx, c.rdb, names).Slice()
	if err != nil {
		return now, nil, err
	}
	if len(read) != len(names)+1 {
		return now, nil, errScriptReply
	}
	micros, _ := read[0].(int64)
	for _, v := range read[1:] {
		text, _ := v.(string)
		values = append(values, text)
	}
	return time.UnixMicro(micros).UTC(), values, nil
}

// Invalidate deletes the list and the register of calls in progress, so that none of them stores it again. It needs no memory
// in Redis.
func (c *Cache) Invalidate(ctx context.Context, k Key) error {
	p := k.prefix()
	return c.rdb.Del(ctx, p+"list", p+"calls").Err()
}

// Erase invalidates the list, and also deletes the remembered refusals and number of pages.
func (c *Cache) Erase(ctx context.Context, k Key) error {
	p := k.prefix()
	return c.rdb.Del(ctx, p+"list", p+"calls", p+"refused", p+"pages").Err()
}

// A Lease is the right to make a shared call, or names the gateway that has it.
type Lease struct {
	Held      bool // false if another request holds it
	key       Key
	shareKey  string
	holder    string
	readsList bool      // the call is for a list
	grantedAt time.Time // by Redis's clock; zero if Redis did not respond
	localAt   time.Time // the same time by the process's clock
}

// Pending reports whether Redis may have granted the lease.
func (l Lease) Pending() bool { return l.holder != "" }

// Granted reports whether Redis has confirmed who holds the lease.
func (l Lease) Granted() bool { return !l.grantedAt.IsZero() }

// RedisTime returns a time of this process by Redis's clock. The lease must be granted.
func (l Lease) RedisTime(moment time.Time) time.Time { return l.grantedAt.Add(moment.Sub(l.localAt)) }

// Acquire acquires the lease for a call whose result is not cached, for at most ttl. Calls with different share keys do not
// share a result. A holder that dies loses its lease after ttl. After an error the lease may still be granted: if it is
// Pending, it must be published.
func (c *Cache) Acquire(ctx context.Context, k Key, lane string, ttl time.Duration) (Lease, error) {
	lease, _, err := c.acquire(ctx, k, lane, ttl)
	return lease, err
}

// AcquireList is Acquire for an account list, and also returns the cached list, so that the result of a call that just ended
// is used.
func (c *Cache) AcquireList(ctx context.Context, k Key, lane string, ttl time.Duration) (Lease, *Entry, error) {
	name := k.prefix() + "list"
	lease, list, err := c.acquire(ctx, k, lane, ttl, name)
	if err != nil {
		return lease, nil, err
	}
	return lease, c.decodeEntry(name, list, lease.grantedAt), nil
}

func (c *Cache) acquire(ctx context.Context, k Key, lane string, ttl time.Duration, more ...string) (Lease, string, error) {
	p := k.prefix()
	lease := Lease{key: k, shareKey: lane, holder: uuid.NewString(), readsList: len(more) > 0}
	keys := append([]string{p + "lease:" + lane, p + "calls"}, more...)
	life := ttl + resultTTL
	got, err := acquireScript.Run(ctx, c.rdb, keys, lease.holder, ttl.Milliseconds(), life.Milliseconds()).StringSlice()
	switch {
	case err != nil && store.NotExecuted(c.rdb, err):
		return Lease{}, "", err
	case err != nil:
		return lease, "", err
	}
	if len(got) != 3 {
		return lease, "", errScriptReply
	}
	micros, err := strconv.ParseInt(got[1], 10, 64)
	if err != nil {
		return lease, "", errScriptReply
	}
	lease.Held = got[0] == lease.holder
	lease.holder, lease.grantedAt = got[0], time.UnixMicro(micros).UTC()
	lease.localAt = time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	return lease, got[2], nil
}

// Balances are an account's balances for the requests that share the call. They are not cached.
type Balances struct {
	canonical.AccountBalances
	FetchedAt time.Time     // as an Entry's
	Age       time.Duration `json:"-"` // as an Entry's
}

// A LeaderOutcome is the outcome of a shared call, for the requests that wait for it.
type LeaderOutcome struct {
	Held     bool              // the call is in progress
	Done     bool              // the call has ended. If Held and Done are false, its leader died
	Failure  *canonical.Error  // nil if the call went well
	Entry    *Entry            // the cached list; nil after a failure, and if it was invalidated
	Balances *Balances         // nil after a failure, and for a list
	Usage    *unattended.Usage // after the call's last step of the counter; nil if there was none
}

// A CallResult is the result of a shared call.
type CallResult struct {
	Entry      *Entry            // the list; nil after a failure
	KeepFor    time.Duration     // how long the list is stored
	FreshFor   time.Duration     // how long a list under an unknown key is not overwritten
	Balances   *Balances         // nil for a list
	Failure    *canonical.Error  // nil if the call went well
	Began      time.Time         // by Redis's clock; zero if the lease was granted before
	Ended      time.Time         // by Redis's clock; zero if the result must not be shared
	Invalidate bool              // after a failure: the cached list must be deleted
	Usage      *unattended.Usage // after the call's last step of the counter; nil if there was none
}

// outcomeRecord is stored for the requests that wait.
type outcomeRecord struct {
	Failure  *canonical.Error
	Balances *Balances
	Ended    time.Time // of the call, by Redis's clock
	Usage    *unattended.Usage
}

// A PublishResult describes a published result.
type PublishResult struct {
	Held bool // the lease was still held, so that waiting requests get the result
	// Stored means that the result is in Redis. It is not if another gateway has the lease, if a newer list is stored, if
	// Redis has no memory for it, or if the list may have been invalidated since the call began.
	Stored bool
}

// Publish stores the result and releases the lease.
func (c *Cache) Publish(ctx context.Context, l Lease, r CallResult) (PublishResult, error) {
	p := l.key.prefix()
	lease, list, recordKey, calls := p+"lease:"+l.shareKey, p+"list", p+"note:"+l.holder, p+"calls"
	var entry, record []byte
	var err error
	if r.Entry != nil {
		prefix := timePrefix(r.Entry)
		if entry, err = c.sealer.Load().seal(listSchema, list, append([]byte(prefix), r.Entry.Accounts...)); err != nil {
			return PublishResult{}, err
		}
		entry = append([]byte(prefix), entry...)
	}
	if !r.Ended.IsZero() {
		if record, err = c.sealer.Load().seal(recordSchema, recordKey, marshal(outcomeRecord{r.Failure, r.Balances, r.Ended, r.Usage})); err != nil {
			return PublishResult{}, err
		}
	}
	// The call was not registered when it began: the list may have been invalidated before the lease was granted.
	late := !r.Began.IsZero() && r.Began.Before(l.grantedAt)
	was, err := publishScript.Run(ctx, c.rdb, []string{lease, list, recordKey, calls}, l.holder, entry, r.KeepFor.Milliseconds(),
		r.Invalidate, record, outcomeTTL.Milliseconds(), late, c.sealer.Load().ids(), r.FreshFor.Microseconds(), listSchema).Int()
	if errors.Is(err, redis.Nil) {
		return PublishResult{}, nil
	}
	return PublishResult{Held: was&1 != 0, Stored: was&2 != 0}, err
}

// Outcome returns the state of a call whose lease another request holds.
func (c *Cache) Outcome(ctx context.Context, l Lease) (LeaderOutcome, error) {
	p := l.key.prefix()
	recordKey, list := p+"note:"+l.holder, p+"list"
	names := []string{recordKey, p + "lease:" + l.shareKey}
	if l.readsList {
		names = append(names, list)
	}
	now, values, err := c.mgetWithTime(ctx, names...)
	if err != nil {
		return LeaderOutcome{}, err
	}
	out := LeaderOutcome{Held: values[1] == l.holder}
	var record outcomeRecord
	// The outcome of a call that had ended before this request started is not used.
	if out.Done = c.decodeRecord(recordKey, values[0], &record) && !record.Ended.Before(l.grantedAt); out.Done {
		out.Failure, out.Balances, out.Usage = record.Failure, record.Balances, record.Usage.At(now)
		if l.readsList {
			out.Entry = c.decodeEntry(list, values[2], now)
		}
	}
	if out.Balances != nil {
		out.Balances.Age = max(now.Sub(out.Balances.FetchedAt), 0)
	}
	return out, nil
}

// decodeRecord decrypts and decodes an outcome record.
func (c *Cache) decodeRecord(name, value string, into *outcomeRecord) bool {
	seal := c.sealer.Load()
	if seal.underUnknownKey([]byte(value)) {
		c.unknown.report()
		return false
	}
	schema, text, ok := seal.open(name, []byte(value))
	return ok && schema == recordSchema && json.Unmarshal(text, into) == nil
}

// A stored list is its time, then time and accounts, sealed. The first byte of a sealed value is the number of its schema.
const (
	// timeSize is the length of a time prefix.
	timeSize = 16
	// listSchema is the number of the JSON form of cached accounts. It increases if the API's form changes. A list of a lower
	// number is decoded and encoded again. One of a higher number, which a newer gateway stored, is a miss and is not
	// overwritten while it is fresh.
	listSchema = 1
	// recordSchema is the number of the form of outcome records.
	recordSchema = 1
)

// timePrefix returns the time of a list in µs, in digits, so that scripts can compare lists that they cannot decrypt.
func timePrefix(e *Entry) string { return fmt.Sprintf("%0*d", timeSize, e.FetchedAt.UnixMicro()) }

// decodeEntry returns a list with its age; nil if it cannot be decoded, or if its time is in the future.
func (c *Cache) decodeEntry(name, value string, now time.Time) *Entry {
	date, sealed := value[:min(len(value), timeSize)], []byte(value[min(len(value), timeSize):])
	micros, err := strconv.ParseInt(date, 10, 64)
	fetched := time.UnixMicro(micros).UTC()
	if err != nil || micros == 0 || fetched.Sub(now) > maxClockSkew || len(sealed) == 0 || sealed[0] > listSchema {
		return nil
	}
	e := Entry{FetchedAt: fetched, Age: max(now.Sub(fetched), 0)}
	if c.sealer.Load().underUnknownKey(sealed) {
		c.unknown.report()
		e.Unreadable = true
		return &e
	}
	schema, text, ok := c.sealer.Load().open(name, sealed)
	if !ok || len(text) < timeSize || string(text[:timeSize]) != date {
		return nil
	}
	if e.Accounts = text[timeSize:]; schema < listSchema {
		e.Accounts = reencode(e.Accounts)
	}
	if e.Accounts == nil {
		return nil
	}
	return &e
}

// reencode returns accounts of an earlier schema in the current form; nil if they cannot be decoded.
func reencode(stored []byte) json.RawMessage {
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

// marshal encodes types that always have a JSON form.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
