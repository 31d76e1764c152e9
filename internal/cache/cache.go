// Package cache stores account lists in Redis, encrypted and per client, with the leases and
// outcomes by which gateways share one call, and with what calls have shown about later ones. It also
// stores aggregations for repeats. Ages use Redis's clock, because the gateways' clocks may differ. It
// fails open: after an error, a request continues without it, except that a repeat of an aggregation is
// refused if what is stored cannot be decrypted. internal/gateway, internal/coalesce and
// internal/aggregation/repeat call it.
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

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/accountkey"
	"ais-gateway/internal/cache/seal"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/store"
)

var (
	//go:embed read.lua
	readSource string
	readScript = redis.NewScript(readSource)

	errScriptReply = errors.New("unexpected response of a script")
)

// maxClockSkew is how far in the future a list's time may be: Redis's clock may jump back in a
// failover.
const maxClockSkew = time.Minute

// A Cache stores account lists. It is safe for concurrent use.
type Cache struct {
	rdb           redis.UniversalClient
	accountKeys   accountkey.Keys
	sealer        atomic.Pointer[seal.Sealer]
	unknown       unknownKeys
	invalidations invalidations
}

// New returns a cache that encrypts with the first key and decrypts with all. It fails if a key
// does not have 32 bytes.
func New(rdb redis.UniversalClient, keys [][]byte) (*Cache, error) {
	c := &Cache{rdb: rdb, invalidations: newInvalidations()}
	return c, c.SetKeys(keys)
}

// WithAccountKeys makes the cache compute account keys, and returns it. It must be called before the
// cache is used.
func (c *Cache) WithAccountKeys(keys accountkey.Keys) *Cache {
	c.accountKeys = keys
	return c
}

// SetKeys replaces the keys. After an error, the old keys stay in use.
func (c *Cache) SetKeys(keys [][]byte) error {
	sealer, err := seal.New(keys)
	if err == nil {
		c.sealer.Store(&sealer)
	}
	return err
}

// A Key identifies a cached list. A list is served only if all three are equal.
type Key struct{ Client, ASPSP, Consent string }

func (k Key) prefix() string { return store.Prefix("accounts", k.Client, k.ASPSP, k.Consent) }

// An Entry is what a call has read: an account list, the balances of an account, or those of all
// accounts, alone or with the list. Only lists are cached.
type Entry struct {
	Accounts    json.RawMessage            // as EncodeList returns it; nil for balances
	Balances    *canonical.AccountBalances // of one account; nil for any other call
	AllBalances AllBalances                // nil if the call does not read them
	FetchedAt   time.Time                  // by Redis's clock, see Lease.RedisTime
	Age         time.Duration              // by Redis's clock when it was read
	// Unreadable means that the list is encrypted under a key that the cache does not have.
	// Accounts is nil then.
	Unreadable bool
}

// AllBalances are the balances of all accounts of a consent, by account id.
type AllBalances map[string]canonical.AccountBalances

// SplitBalances returns the accounts of a list with balances, and the balances of those that have
// any.
func SplitBalances(read []canonical.AccountWithBalances) ([]canonical.Account, AllBalances) {
	accounts, balances := make([]canonical.Account, len(read)), AllBalances{}
	for i, r := range read {
		if accounts[i] = r.Account; r.Balances != nil {
			balances[r.Account.ID] = canonical.AccountBalances{Balances: r.Balances}
		}
	}
	return accounts, balances
}

// Get returns the cached list and the time by Redis's clock. The entry is nil if there is none, if
// it cannot be decoded, or if its invalidation is pending.
func (c *Cache) Get(ctx context.Context, k Key) (*Entry, time.Time, error) {
	pending := c.invalidations.pending(k) // before the read: it may be confirmed between the read and the next check
	name := k.prefix() + "list"
	now, values, err := c.mgetWithTime(ctx, name)
	if err != nil || pending || c.invalidations.pending(k) {
		return nil, now, err
	}
	return c.decodeEntry(k, name, values[0], now), now, nil
}

// mgetWithTime returns values, "" for missing ones, and the time by Redis's clock, in one round
// trip.
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

// A stored list is its time, then a sealed text: the time, the id of the account keys, and the
// accounts. The first byte of a sealed value is the number of its schema.
const (
	// timeSize is the length of a time prefix.
	timeSize = 16
	// listSchema is the number of the form of cached lists with account keys. It increases if an
	// existing member changes, or if a new one can be computed from stored ones; not for any other
	// new member. A list of a lower number is decoded and encoded again, and so is one with account
	// keys under another key. One of a higher number, which a newer gateway stored, is a miss and is
	// not overwritten while it is fresh.
	listSchema = 2
	// unkeyedSchema is the number of the form of lists without account keys, which has no id of
	// them: a gateway without a key for them writes lists that earlier gateways can read.
	unkeyedSchema = 1
	// outcomeSchema is the number of the form of outcomes.
	outcomeSchema = 1
)

// timePrefix returns the time of a list in µs, in digits, so that scripts can compare lists that
// they cannot decrypt.
func timePrefix(e *Entry) string { return fmt.Sprintf("%0*d", timeSize, e.FetchedAt.UnixMicro()) }

// EncodeList returns a list with its account keys, as it is sent to the client and stored. It sets
// the keys in list.
func (c *Cache) EncodeList(k Key, list []canonical.Account) (json.RawMessage, error) {
	c.accountKeys.Set(k.Client, k.ASPSP, list)
	return canonical.EncodeAccounts(list)
}

// encodeEntry returns a list as it is stored under a name.
func (c *Cache) encodeEntry(name string, e *Entry) ([]byte, error) {
	prefix, schema := timePrefix(e), byte(unkeyedSchema)
	if c.accountKeys.ID() != "" {
		schema = listSchema
	}
	sealed, err := c.sealer.Load().Seal(schema, name, append([]byte(prefix+c.accountKeys.ID()), e.Accounts...))
	return append([]byte(prefix), sealed...), err
}

// decodeEntry returns a list with its age; nil if it cannot be decoded, or if its time is in the
// future.
func (c *Cache) decodeEntry(k Key, name, value string, now time.Time) *Entry {
	date, sealed := value[:min(len(value), timeSize)], []byte(value[min(len(value), timeSize):])
	micros, err := strconv.ParseInt(date, 10, 64)
	fetched := time.UnixMicro(micros).UTC()
	if err != nil || micros == 0 || fetched.Sub(now) > maxClockSkew || len(sealed) == 0 || sealed[0] > listSchema {
		return nil
	}
	e := Entry{FetchedAt: fetched, Age: max(now.Sub(fetched), 0)}
	if c.sealer.Load().UnderUnknownKey(sealed) {
		c.unknown.report()
		e.Unreadable = true
		return &e
	}
	schema, text, ok := c.sealer.Load().Open(name, sealed)
	if !ok || len(text) < timeSize || string(text[:timeSize]) != date {
		return nil
	}
	if e.Accounts = c.decodeList(k, schema, text[timeSize:]); e.Accounts == nil {
		return nil
	}
	return &e
}

// decodeList returns the accounts of a stored list in the form of this gateway; nil if they cannot
// be decoded. They are decoded only if they are of an earlier schema, or if their account keys are
// not those of this gateway.
func (c *Cache) decodeList(k Key, schema byte, stored []byte) json.RawMessage {
	var id []byte
	if schema > unkeyedSchema {
		if len(stored) < accountkey.IDSize {
			return nil
		}
		id, stored = stored[:accountkey.IDSize], stored[accountkey.IDSize:]
	}
	if schema >= unkeyedSchema && string(id) == c.accountKeys.ID() {
		return stored
	}
	var list []canonical.Account
	if json.Unmarshal(stored, &list) != nil {
		return nil
	}
	again, err := c.EncodeList(k, list)
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
