package mastercard

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkBalances measures what becomes of a response with two balances.
func BenchmarkBalances(b *testing.B) {
	body := benchBody(b, "two_balances.json")
	b.ReportAllocs()
	for b.Loop() {
		if got, err := readBalances(body, "", "a"); err != nil || len(got.Balances) != 2 {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkAccounts measures what becomes of a response with ten accounts.
func BenchmarkAccounts(b *testing.B) {
	body := benchBody(b, "ten_accounts.json")
	b.ReportAllocs()
	for b.Loop() {
		if got, err := readAccounts(body, ""); err != nil || len(got) != 10 {
			b.Fatal(got, err)
		}
	}
}

func benchBody(b *testing.B, name string) []byte {
	b.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		b.Fatal(err)
	}
	return body
}
