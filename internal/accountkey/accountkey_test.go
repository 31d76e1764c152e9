package accountkey_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"ais-gateway/internal/accountkey"
	"ais-gateway/internal/canonical"
)

// testKeys returns the Keys of the key with the bytes 0 to 31.
func testKeys() accountkey.Keys {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return accountkey.New(key)
}

const (
	keyASPSP  = "4f1e2d3c-abcd-4000-8000-000000000001"
	keyClient = "payments"
	keyIBAN   = "BG57INTF40015004462007"
)

// keyOf returns the key of an account that is alone in its list.
func keyOf(keys accountkey.Keys, client, aspsp string, a canonical.Account) string {
	list := []canonical.Account{a}
	keys.Set(client, aspsp, list)
	return list[0].Key
}

func numbered(s canonical.Scheme, number, currency string) canonical.Account {
	return canonical.Account{ID: "1", Identification: canonical.Identification{Scheme: s, Value: number}, Currency: currency}
}

// TestVectors compares account keys with values that were computed by another implementation:
//
//	import base64, hashlib, hmac
//	def account_key(*parts):
//	    text = b"".join(len(p.encode()).to_bytes(8, "big") + p.encode() for p in parts)
//	    mac = hmac.new(bytes(range(32)), text, hashlib.sha256).digest()
//	    return base64.urlsafe_b64encode(mac[:16]).decode().rstrip("=")
//	account_key("payments", "4f1e2d3c-abcd-4000-8000-000000000001", "IBAN", "BG57INTF40015004462007", "EUR")
func TestVectors(t *testing.T) {
	t.Parallel()
	const iban, bban, sortCode = "_tDTRqF1P73UjSbnFaEILA", "GUpY9OrZB2xedT-LdyPdsw", "35YeWyEht8eAxuTfYcnUmQ"
	for name, tt := range map[string]struct {
		client, aspsp string
		account       canonical.Account
		want          string
	}{
		"IBAN":                 {keyClient, keyASPSP, numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), iban},
		"IBAN as printed":      {keyClient, keyASPSP, numbered(canonical.SchemeIBAN, "bg57 intf 4001 5004 4620 07", "EUR"), iban},
		"ASPSP in upper case":  {keyClient, strings.ToUpper(keyASPSP), numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), iban},
		"no currency":          {keyClient, keyASPSP, numbered(canonical.SchemeIBAN, keyIBAN, ""), "otx7L_ahxTgOPP2Ap9GR7g"},
		"currency XXX":         {keyClient, keyASPSP, numbered(canonical.SchemeIBAN, keyIBAN, "XXX"), "fJkrmmoFSnxSzyOep4zZOw"},
		"another client":       {"other", keyASPSP, numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), "YEWYNUFOjm6dIKXzyagOaw"},
		"client of an issuer":  {`oidc:"https://login.example.com/realms/bank"azp"batch"`, keyASPSP, numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), "NJXa6-EEYhlOaUtaW6Ya4A"},
		"another ASPSP":        {keyClient, "4f1e2d3c-0000-4000-8000-000000000001", numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), "Wsx9fonmsYn-30nBfDoTdw"},
		"BBAN":                 {keyClient, keyASPSP, numbered(canonical.SchemeBBAN, "20000055779911AB", "GBP"), bban},
		"BBAN as printed":      {keyClient, keyASPSP, numbered(canonical.SchemeBBAN, "20-00-00 5577\u00a09911\u2010ab", "GBP"), bban},
		"sort code":            {keyClient, keyASPSP, numbered(canonical.SchemeSortCode, "60161331926819", "GBP"), sortCode},
		"sort code as printed": {keyClient, keyASPSP, numbered(canonical.SchemeSortCode, "60-16-13 31926819", "GBP"), sortCode},
		"provider's number":    {keyClient, keyASPSP, numbered(canonical.SchemeProvider, "ab-12 c", "GBP"), "bn0a5kBe7vHWHFxl7Gs3ow"},
		"masked card number":   {keyClient, keyASPSP, numbered(canonical.SchemePAN, "512345******1234", "EUR"), ""},
		"no number":            {keyClient, keyASPSP, canonical.Account{ID: keyIBAN, Currency: "EUR"}, ""},
		"only hyphens":         {keyClient, keyASPSP, numbered(canonical.SchemeBBAN, " - ", "EUR"), ""},
	} {
		if got := keyOf(testKeys(), tt.client, tt.aspsp, tt.account); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if id := testKeys().ID(); id != "\xe3\xb0\x32\x9b\x11\x15\x5a\x8c" {
		t.Errorf("the id is %q", id)
	}
}

// TestKeyDependsOnNothingElse: what may change between two reads does not change the key.
func TestKeyDependsOnNothingElse(t *testing.T) {
	t.Parallel()
	a, keys := numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), testKeys()
	b := canonical.Account{
		ID: "2", Key: "earlier", Identification: a.Identification, Currency: "EUR", Type: "CACC", ProviderType: "x", Status: "blocked",
		OtherIdentifications: []canonical.Identification{{Scheme: canonical.SchemeProvider, Value: "1"}}, HolderType: "business",
		HolderName: "Jane Roe", Name: "Savings", Nickname: "Car", Relations: []string{"Owner"},
	}
	if one, other := keyOf(keys, keyClient, keyASPSP, a), keyOf(keys, keyClient, keyASPSP, b); one != other {
		t.Errorf("%s and %s", one, other)
	}
}

// TestSharedKeysAreLeftOut: accounts of one list that would have the same key have none, and
// the others keep theirs.
func TestSharedKeysAreLeftOut(t *testing.T) {
	t.Parallel()
	list := []canonical.Account{
		numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), numbered(canonical.SchemeIBAN, keyIBAN, "USD"),
		numbered(canonical.SchemeIBAN, keyIBAN, "EUR"), numbered(canonical.SchemeBBAN, "1 2-3", "EUR"),
		numbered(canonical.SchemeBBAN, "123", "EUR"), numbered(canonical.SchemeProvider, "1 2-3", "EUR"),
		numbered(canonical.SchemeProvider, "123", "EUR"),
		{},
		{},
	}
	keys := testKeys()
	keys.Set(keyClient, keyASPSP, list)
	for i, want := range []bool{false, true, false, false, false, true, true, false, false} {
		if (list[i].Key != "") != want {
			t.Errorf("account %d has the key %q", i, list[i].Key)
		}
	}
	if got, want := list[1].Key, keyOf(keys, keyClient, keyASPSP, list[1]); got != want {
		t.Errorf("%s beside others, %s alone", got, want)
	}
}

// TestWithoutAKey: the zero Keys removes account keys, which may be of another gateway.
func TestWithoutAKey(t *testing.T) {
	t.Parallel()
	for _, keys := range []accountkey.Keys{{}, accountkey.New(nil)} {
		a := numbered(canonical.SchemeIBAN, keyIBAN, "EUR")
		a.Key = "of another gateway"
		if got := keyOf(keys, keyClient, keyASPSP, a); got != "" || keys.ID() != "" {
			t.Errorf("key %q, id %q", got, keys.ID())
		}
	}
}

// TestKeyNeverPrints: no verb of fmt shows the key.
func TestKeyNeverPrints(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte("k7"), 16)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		keys := accountkey.New(key)
		for _, v := range []any{keys, &keys, struct{ hidden accountkey.Keys }{keys}} {
			text := fmt.Sprintf(verb, v)
			for _, form := range []string{"k7k7", "6b376b37", "107 55 107", "0x6b, 0x37"} {
				if strings.Contains(text, form) {
					t.Errorf("%s: %s", verb, text)
				}
			}
		}
	}
}

// FuzzParts: two accounts have the same key only if all parts are the same, also if a part
// begins with what ends another one, or with its length.
func FuzzParts(f *testing.F) {
	f.Add("payments", keyASPSP, "IBAN", keyIBAN, "EUR")
	f.Add("a", "b", "BBAN", "c", "")
	f.Add("", "", "", "0", "")
	f.Add(string(binary.BigEndian.AppendUint64(nil, 1)), "a", "S", "\x00\x00\x00\x00\x00\x00\x00\x01", "E")
	f.Fuzz(func(t *testing.T, client, aspsp, scheme, number, currency string) {
		parts := [5]string{client, aspsp, scheme, number, currency}
		key := func(p [5]string) string {
			return keyOf(testKeys(), p[0], p[1], numbered(canonical.Scheme(p[2]), p[3], p[4]))
		}
		of := key(parts)
		if of == "" {
			return
		}
		if len(of) != 22 {
			t.Errorf("%q", of)
		}
		for i := range 4 { // a byte, or all, moves from a part to the next or back
			for _, at := range []int{0, len(parts[i]) - 1} {
				if at >= 0 && at < len(parts[i]) {
					other := parts
					other[i], other[i+1] = parts[i][:at], parts[i][at:]+parts[i+1]
					if key(other) == of {
						t.Errorf("%q and %q have one key", parts, other)
					}
				}
			}
			if parts[i+1] != "" {
				other := parts
				other[i], other[i+1] = parts[i]+parts[i+1][:1], parts[i+1][1:]
				if key(other) == of {
					t.Errorf("%q and %q have one key", parts, other)
				}
			}
		}
	})
}
