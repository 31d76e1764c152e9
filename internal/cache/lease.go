package cache

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/send"
	"ais-gateway/internal/unattended"
)

var (
	//go:embed list.lua
	listSource string
	//go:embed acquire.lua
	acquireSource string
	//go:embed publish.lua
	publishSource string

	acquireScript = redis.NewScript(listSource + acquireSource)
	publishScript = redis.NewScript(listSource + publishSource)
)

const (
	// outcomeTTL is how long the outcome of a shared call is stored for the requests that wait for
	// it.
	outcomeTTL = 10 * time.Second
	// resultTTL is how long after the end of its lease the result of a call may still be stored.
	resultTTL = 30 * time.Second
)

// A CallID identifies a provider call. Identical requests have equal ids, and share one call.
type CallID struct {
	Key
	ShareKey string // differs between requests that must not share a call
}

// A Lease is the right to make a shared call, or names the holder that has it.
type Lease struct {
	CallID
	Holder    string // "" for no lease
	Held      bool   // this request holds it, or may hold it, after an error
	list      bool   // the call reads a list
	grantedAt time.Time
	localAt   time.Time // the same time by the process's clock
}

// processID and leases make the holders of all leases different: the first half is random for each
// process, and the second half counts.
var (
	processID = uuid.New()
	leases    atomic.Uint64
)

// NewLease returns a lease to be acquired.
func NewLease(id CallID) Lease {
	holder := processID
	binary.BigEndian.PutUint64(holder[8:], leases.Add(1))
	return Lease{CallID: id, Holder: holder.String()}
}

// RedisTime returns a time of this process by Redis's clock. The lease must be confirmed.
func (l Lease) RedisTime(moment time.Time) time.Time { return l.grantedAt.Add(moment.Sub(l.localAt)) }

// A Lookup is what a request needs to know before its call.
type Lookup struct {
	List bool          // the call reads the account list
	TTL  time.Duration // of the lease. A holder that dies loses it then
	// MaxAge is the age below which a readable list satisfies the request, so that no lease is
	// acquired; 0 for none.
	MaxAge time.Duration
	// ConsentSubject and ReadSubject are the subjects whose refusals exclude the call: hashes of 43
	// characters over the consent, the user's token and, in ReadSubject, the account. They are equal
	// for the account list.
	ConsentSubject, ReadSubject string
}

// Found is the reply to a Lookup.
type Found struct {
	Lease  Lease     // without a holder if a list satisfies the request, and with NoLease
	Entry  *Entry    // the cached list; nil if there is none, if it cannot be decoded, or if its invalidation is pending
	Memory Memory    // of earlier calls
	Now    time.Time // by Redis's clock
	// NoLease means that Redis refused to store a lease, for example because it has no memory or is
	// a replica.
	NoLease bool
}

// Responded reports whether Redis has responded to the lookup.
func (f Found) Responded() bool { return !f.Now.IsZero() }

// Acquire returns what a request needs to know before its call, and acquires its lease, in one
// round trip. It acquires no lease if another request holds it, or if a list satisfies the request.
// With an error it returns the lease as held if Redis may have granted it, or may still do so: it
// must be released.
func (c *Cache) Acquire(ctx context.Context, l Lease, want Lookup) (Found, error) {
	pending := c.invalidations.pending(l.Key)
	p := l.prefix()
	keys := store.Names(p, "lease:"+l.ShareKey, "calls", "note:"+l.Holder, "refused", "pages", "list")
	if !want.List {
		keys = keys[:5]
	}
	maxAge := want.MaxAge
	if pending {
		maxAge = 0
	}
	got, err := send.Run(ctx, acquireScript, c.rdb, keys, l.Holder, want.TTL.Milliseconds(), (want.TTL + resultTTL).Milliseconds(),
		maxAge.Microseconds(), c.sealer.Load().IDs, listSchema).StringSlice()
	var reply redis.Error
	if errors.As(err, &reply) && !errors.Is(err, send.ErrExecutedBefore) { // Redis responds, but cannot write
		if found, failed := c.lookUp(ctx, l, want, p, keys[3:]); failed == nil {
			return found, nil
		}
	}
	if err != nil {
		l.Held = !store.NotExecuted(c.rdb, err)
		return Found{Lease: l}, err
	}
	l.Held = true // if the reply cannot be read
	if len(got) == 3 {
		got = append(got, "", "")
	}
	if len(got) != 5 {
		return Found{Lease: l}, errScriptReply
	}
	micros, err := strconv.ParseInt(got[1], 10, 64)
	if err != nil {
		return Found{Lease: l}, errScriptReply
	}
	found := c.found(l, want, p, time.UnixMicro(micros).UTC(), got[2:], pending)
	if got[0] != "" {
		found.Lease = Lease{CallID: l.CallID, Holder: got[0], Held: got[0] == l.Holder, list: want.List, grantedAt: found.Now}
		found.Lease.localAt = time.Now() //nolint:forbidigo // the process's own monotonic time, as of a timer
	}
	return found, nil
}

// LookUp is Acquire without a lease: it only reads. The key's call is not needed.
func (c *Cache) LookUp(ctx context.Context, k Key, want Lookup) (Found, error) {
	p := k.prefix()
	return c.lookUp(ctx, Lease{CallID: CallID{Key: k}}, want, p, store.Names(p, "refused", "pages", "list"))
}

// lookUp is Acquire on a Redis that refuses to write: it reads the keys of refusals, pages and the
// list.
func (c *Cache) lookUp(ctx context.Context, l Lease, want Lookup, prefix string, keys []string) (Found, error) {
	pending := c.invalidations.pending(l.Key)
	now, values, err := c.mgetWithTime(ctx, keys...)
	if err != nil {
		return Found{}, err
	}
	list := ""
	if want.List {
		list = values[2]
	}
	found := c.found(l, want, prefix, now, []string{list, values[0], values[1]}, pending)
	found.NoLease = true
	return found, nil
}

// found decodes the list, the refusals and the pages. prefix is that of their keys, and pending is
// whether an invalidation was pending before they were read.
func (c *Cache) found(l Lease, want Lookup, prefix string, now time.Time, values []string, pending bool) Found {
	f := Found{Now: now, Memory: decodeMemory(values[1], values[2], now, want)}
	if !pending && !c.invalidations.pending(l.Key) {
		f.Entry = c.decodeEntry(l.Key, prefix+"list", values[0], now)
	}
	return f
}

// A LeaderOutcome is how a shared call ended, for the requests that wait for it.
type LeaderOutcome struct {
	Held    bool              // the call is in progress
	Done    bool              // the call has ended. If Held and Done are false, its holder died
	Ended   time.Time         // of the call, by Redis's clock; only if Done
	Failure *canonical.Error  // nil if the call succeeded. An unknown kind, of a newer gateway, is ProviderError
	Entry   *Entry            // nil after a failure, and if the list was invalidated
	Usage   *unattended.Usage // after the call's last step of the counter; nil if there was none
}

// EndedBefore reports whether the call ended before a request found the lease held. Such a request
// needs another call.
func (o LeaderOutcome) EndedBefore(l Lease) bool { return o.Ended.Before(l.grantedAt) }

// A CallResult is the result of a shared call.
type CallResult struct {
	Entry    *Entry            // nil after a failure
	KeepFor  time.Duration     // how long a list is stored
	FreshFor time.Duration     // how long a list under an unknown key is not overwritten
	Failure  *canonical.Error  // nil if the call succeeded
	Usage    *unattended.Usage // after the call's last step of the counter; nil if there was none
	// Invalidate means that the failure is a rejection of the consent, so that the cached list must
	// be deleted.
	Invalidate bool
	Learned    Learned   // for later calls
	Ended      time.Time // by Redis's clock; zero if the result must not be shared
}

// storedOutcome is stored for the requests that wait.
type storedOutcome struct {
	Failure     *canonical.Error
	Balances    *storedBalances
	AllBalances AllBalances `json:",omitempty"`
	FetchedAt   time.Time   `json:",omitzero"` // of AllBalances
	Ended       time.Time   // of the call, by Redis's clock
	Usage       *unattended.Usage
}

// storedBalances are balances in a stored outcome.
type storedBalances struct {
	canonical.AccountBalances
	FetchedAt time.Time
}

// A PublishResult is the reply to Publish.
type PublishResult struct {
	Held bool // the lease was still held, so that waiting requests get the result
	// Stored means that the list is in Redis, or that it was invalidated if the result requires
	// that. It is false if another gateway has the lease, if a newer list is stored, if Redis has
	// no memory for it, or if the list was invalidated since the call began.
	Stored bool
}

// Publish stores the result and releases the lease, in one round trip. The zero CallResult only
// releases the lease. If Redis has not confirmed the lease, it does not grant it within the next ten
// seconds either.
func (c *Cache) Publish(ctx context.Context, l Lease, r CallResult) (PublishResult, error) {
	p := l.prefix()
	list, outcomeKey := p+"list", p+"note:"+l.Holder
	var entry, outcome []byte
	var err error
	if r.Entry != nil && r.Entry.Accounts != nil {
		if entry, err = c.encodeEntry(list, r.Entry); err != nil {
			return PublishResult{}, err
		}
	}
	if !r.Ended.IsZero() {
		if outcome, err = c.sealer.Load().Seal(outcomeSchema, outcomeKey, marshal(r.outcome())); err != nil {
			return PublishResult{}, err
		}
	}
	keys := []string{p + "lease:" + l.ShareKey, list, outcomeKey, p + "calls", p + "refused", p + "pages"}
	args := append([]any{
		l.Holder, entry, r.KeepFor.Milliseconds(), r.Invalidate, outcome, outcomeTTL.Milliseconds(),
		c.sealer.Load().IDs, r.FreshFor.Microseconds(), listSchema,
	}, r.Learned.args(r.Ended)...)
	args = append(args, l.grantedAt.IsZero())
	was, err := publishScript.Run(ctx, c.rdb, keys, args...).Int()
	if errors.Is(err, redis.Nil) {
		return PublishResult{}, nil
	}
	return PublishResult{Held: was&1 != 0, Stored: was&2 != 0}, err
}

func (r CallResult) outcome() storedOutcome {
	out := storedOutcome{Failure: r.Failure, Ended: r.Ended, Usage: r.Usage}
	switch {
	case r.Entry == nil:
	case r.Entry.Balances != nil:
		out.Balances = &storedBalances{*r.Entry.Balances, r.Entry.FetchedAt}
	case r.Entry.AllBalances != nil:
		out.AllBalances, out.FetchedAt = r.Entry.AllBalances, r.Entry.FetchedAt
	}
	return out
}

// Outcome returns the state of a call whose lease another request holds.
func (c *Cache) Outcome(ctx context.Context, l Lease) (LeaderOutcome, error) {
	pending := c.invalidations.pending(l.Key)
	p := l.prefix()
	outcomeKey, list := p+"note:"+l.Holder, p+"list"
	names := []string{outcomeKey, p + "lease:" + l.ShareKey}
	if l.list {
		names = append(names, list)
	}
	now, values, err := c.mgetWithTime(ctx, names...)
	if err != nil {
		return LeaderOutcome{}, err
	}
	out := LeaderOutcome{Held: values[1] == l.Holder}
	var stored storedOutcome
	if out.Done = c.decodeOutcome(outcomeKey, values[0], &stored); !out.Done {
		return out, nil
	}
	out.Failure, out.Ended, out.Usage = stored.Failure, stored.Ended, stored.Usage.At(now)
	if out.Failure != nil && !out.Failure.Kind.Known() {
		out.Failure.Kind = canonical.ProviderError
	}
	switch b := stored.Balances; {
	case b != nil:
		out.Entry = &Entry{Balances: &b.AccountBalances, FetchedAt: b.FetchedAt, Age: max(now.Sub(b.FetchedAt), 0)}
	case l.list && !pending && !c.invalidations.pending(l.Key):
		if out.Entry = c.decodeEntry(l.Key, list, values[2], now); out.Entry != nil && out.Entry.FetchedAt.UnixMicro() == stored.FetchedAt.UnixMicro() {
			out.Entry.AllBalances = stored.AllBalances
		}
	case !l.list && stored.AllBalances != nil:
		out.Entry = &Entry{AllBalances: stored.AllBalances, FetchedAt: stored.FetchedAt, Age: max(now.Sub(stored.FetchedAt), 0)}
	}
	return out, nil
}

// decodeOutcome decrypts and decodes an outcome.
func (c *Cache) decodeOutcome(name, value string, into *storedOutcome) bool {
	sealer := c.sealer.Load()
	if sealer.UnderUnknownKey([]byte(value)) {
		c.unknown.report()
		return false
	}
	schema, text, ok := sealer.Open(name, []byte(value))
	return ok && schema == outcomeSchema && json.Unmarshal(text, into) == nil
}
