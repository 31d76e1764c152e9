package cache

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
)

// benchEntry returns a cache with one key, and a list with ten accounts and its name.
func benchEntry(b *testing.B) (c *Cache, name string, e *Entry) {
	b.Helper()
	c, err := New(nil, [][]byte{bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		b.Fatal(err)
	}
	list := make([]canonical.Account, 10)
	for i := range list {
		list[i] = canonical.Account{
			ID: "5004071000" + strconv.Itoa(i), Currency: "EUR", Type: canonical.AccountTypeOther, ProviderType: "E-Money",
			Identification: canonical.Identification{Scheme: canonical.SchemeIBAN, Value: "BG83MPOS94001000244010"},
			Status:         "enabled", Name: "Everyday account " + strconv.Itoa(i),
		}
	}
	accounts, err := canonical.EncodeAccounts(list)
	if err != nil {
		b.Fatal(err)
	}
	return c, Key{"client", "aspsp", "consent"}.prefix() + "list", &Entry{Accounts: accounts, FetchedAt: time.Now()}
}

// BenchmarkSeal encrypts a list as it is stored.
func BenchmarkSeal(b *testing.B) {
	c, name, e := benchEntry(b)
	for b.Loop() {
		if stored, err := c.encodeEntry(name, e); err != nil || len(stored) <= len(e.Accounts) {
			b.Fatal(len(stored), err)
		}
	}
}

// BenchmarkOpen decrypts a stored list.
func BenchmarkOpen(b *testing.B) {
	c, name, e := benchEntry(b)
	stored, err := c.encodeEntry(name, e)
	if err != nil {
		b.Fatal(err)
	}
	value := string(stored)
	for b.Loop() {
		if opened := c.decodeEntry(Key{}, name, value, e.FetchedAt); opened == nil || !bytes.Equal(opened.Accounts, e.Accounts) {
			b.Fatal("the list is not opened")
		}
	}
}
