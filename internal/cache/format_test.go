package cache_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// sealed returns an encrypted value as docs/design.md describes it under "Formats".
func sealed(t *testing.T, key []byte, schema byte, name, text string) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	id, nonce := sha256.Sum256(append([]byte("ais-gateway key id"), key...)), make([]byte, aead.NonceSize())
	head := append([]byte{schema}, id[:4]...)
	return string(aead.Seal(append(head, nonce...), nonce, []byte(text), append([]byte{schema}, name...)))
}

// TestSchemas: a list of an earlier schema is encoded again. A list of a later schema is a miss,
// and is not overwritten while newer gateways serve it as fresh.
func TestSchemas(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	key, k := newKey(t), newCacheKey()
	c, name := newCache(t, rdb, key), listName(t, k)
	date := fmt.Sprintf("%016d", time.Now().Add(-time.Minute).UnixMicro())
	store := func(schema byte, key []byte, accounts string) {
		t.Helper()
		if err := rdb.Set(t.Context(), name, date+sealed(t, key, schema, name, date+accounts), time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		schema       byte
		stored, want string
	}{
		{1, `[{"accountId":"1","type":"OTHR","odd":true}]`, `[{"accountId":"1","type":"OTHR","odd":true}]`},
		{0, `[{"accountId":"1","odd":true,"type":"OTHR"}]`, `[{"accountId":"1","type":"OTHR"}]`},
		{0, `[{"accountId":1}]`, ""},
		{2, "\x01\x02\x03\x04\x05\x06\x07\x08" + `[{"accountId":"1","accountKey":"of another gateway","type":"OTHR"}]`, `[{"accountId":"1","type":"OTHR"}]`},
		{2, "\x01\x02\x03\x04\x05\x06\x07", ""},
		{3, `[{"accountId":"1","type":"OTHR"}]`, ""},
	} {
		store(tt.schema, key, tt.stored)
		e, _, err := c.Get(t.Context(), k)
		if err != nil || (e == nil) != (tt.want == "") || e != nil && string(e.Accounts) != tt.want {
			t.Errorf("schema %d, %s: %+v, %v", tt.schema, tt.stored, e, err)
		}
	}
	for _, tt := range []struct {
		key      []byte
		freshFor time.Duration
		replaced bool
	}{{key, time.Hour, false}, {newKey(t), time.Hour, false}, {key, time.Second, true}} {
		lease, _, err := acquire(t.Context(), c, k, unattended, ttl)
		if err != nil {
			t.Fatal(err)
		}
		store(3, tt.key, "[]")
		next := entry()
		next.FetchedAt = time.Now()
		end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: next, KeepFor: time.Hour, FreshFor: tt.freshFor})
		if err != nil || end.Stored != tt.replaced {
			t.Errorf("fresh for %v: %+v, %v", tt.freshFor, end, err)
		}
	}
}

// TestLaterOutcomeIsIgnored: an outcome of a later schema is ignored.
func TestLaterOutcomeIsIgnored(t *testing.T) {
	t.Parallel()
	rdb := open(t, config.Redis{Mode: config.Standalone, Addresses: []string{redistest.Shared(t)}})
	key, k := newKey(t), newCacheKey()
	c := newCache(t, rdb, key)
	lease, _, err := acquire(t.Context(), c, k, unattended, ttl)
	if err != nil {
		t.Fatal(err)
	}
	waiting, _, err := acquire(t.Context(), c, k, unattended, ttl)
	if err != nil || waiting.Held {
		t.Fatal(waiting, err)
	}
	if end, err := c.Publish(t.Context(), lease, cache.CallResult{Entry: entry(), KeepFor: time.Hour, Ended: waiting.RedisTime(time.Now())}); err != nil || !end.Stored {
		t.Fatal(end, err)
	}
	notes, err := rdb.Keys(t.Context(), store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)+"note:*").Result()
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	note := fmt.Sprintf(`{"Ended":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano))
	for schema, done := range map[byte]bool{1: true, 2: false} {
		if err := rdb.Set(t.Context(), notes[0], sealed(t, key, schema, notes[0], note), time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if o, err := c.Outcome(t.Context(), waiting); err != nil || o.Held || o.Done != done {
			t.Errorf("schema %d: %+v, %v", schema, o, err)
		}
	}
}
