package canonical_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ais-gateway/internal/canonical"
)

// FuzzBalanceJSON compares the JSON of a balance with that of encoding/json.
func FuzzBalanceJSON(f *testing.F) {
	f.Add("CLBD", "closingBooked", "-12.300", "EUR", int64(1768427943), int64(1_000_000), "", "")
	f.Add("OTHR", "", "0", "XXX", int64(-62135596800), int64(0), "2026-01-14", "<&>\u2028\u2029\u007f é \U0001f600 \xff")
	f.Add("", "\"\\/\b\f\n\r\t\x00\x1f", "1e17", "JPY", int64(253402300799), int64(999_999_999), "a", "b")
	f.Add(`a"b`, `a\b`, "-0.5", "BHD", int64(0), int64(1), "\x1f", "\x7f")
	f.Add("OTHR", "x", "1", "EUR", int64(253402300800), int64(0), "", "")
	f.Fuzz(func(t *testing.T, kind, word, number, currency string, seconds, nanos int64, date, unread string) {
		amount, err := canonical.ParseAmount(number, currency)
		if err != nil && amount != (canonical.Amount{}) {
			t.Errorf("amount %v with %v", amount, err)
		}
		b := canonical.Balance{
			Type: canonical.BalanceType(kind), ProviderType: word, Amount: amount,
			ReferenceTime: time.Unix(seconds, nanos).In(time.FixedZone("", 3600)), ReferenceDate: date, ProviderDateTime: unread,
		}
		type value struct {
			Value    string `json:"value"`
			Currency string `json:"currency"`
		}
		want := struct {
			Type             string     `json:"type"`
			ProviderType     string     `json:"providerType,omitempty"`
			Amount           value      `json:"amount"`
			Indicator        string     `json:"creditDebitIndicator"`
			ReferenceTime    *time.Time `json:"referenceDateTime"`
			ReferenceDate    string     `json:"referenceDate,omitempty"`
			ProviderDateTime string     `json:"providerDateTime,omitempty"`
		}{kind, word, value{amount.Value(), amount.Currency()}, string(amount.Indicator()), nil, date, unread}
		if at := b.ReferenceTime.UTC(); !at.IsZero() {
			want.ReferenceTime = &at
		}
		wantText, wantErr := unescaped(want)
		text, err := unescaped(b)
		if (err == nil) != (wantErr == nil) || err == nil && text != wantText {
			t.Errorf("got %s, %v\nwant %s, %v", text, err, wantText, wantErr)
		}
		direct, err := b.MarshalJSON()
		if err == nil && string(direct)+"\n" != wantText {
			t.Errorf("got %s without an encoder, want %s", direct, wantText)
		}
	})
}

// TestEncodeAccounts compares the JSON of a list with that of its accounts, and decodes it.
func TestEncodeAccounts(t *testing.T) {
	t.Parallel()
	list := []canonical.Account{
		{
			ID: "1", Key: "Vq3v0fT1mS8yKc2dXwZb7A", Identification: canonical.NewIdentification(canonical.SchemeIBAN, "GB33BUKB20201555555555"),
			OtherIdentifications: []canonical.Identification{{Scheme: canonical.SchemeProvider, Value: "<1>"}},
			Type:                 "CACC", Name: "a & b \u2028", Relations: []string{"Owner"},
		},
		{ID: "2", Type: canonical.AccountTypeOther},
	}
	for _, list := range [][]canonical.Account{list, list[:1], {}, nil} {
		want := "["
		for i, a := range list {
			one, err := a.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				want += ","
			}
			want += string(one)
		}
		want += "]"
		if got, err := canonical.EncodeAccounts(list); err != nil || string(got) != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
		var decoded []canonical.Account
		if err := json.Unmarshal([]byte(want), &decoded); err != nil || !cmp.Equal(decoded, list, cmpopts.EquateEmpty()) {
			t.Errorf("decoded: %+v, %v", decoded, err)
		}
	}
	const first = `{"accountId":"1","accountKey":"Vq3v0fT1mS8yKc2dXwZb7A","iban":"GB33BUKB20201555555555","identification":{"scheme":"IBAN","value":"GB33BUKB20201555555555"},` +
		`"otherIdentifications":[{"scheme":"PROVIDER","value":"<1>"}],"type":"CACC","name":"a & b \u2028","relations":["Owner"]}`
	if got, err := unescaped(list[0]); err != nil || got != first+"\n" {
		t.Errorf("got %s, %v\nwant %s", got, err, first)
	}
}

// unescaped returns the JSON of a value without escapes for HTML.
func unescaped(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.String(), err
}
