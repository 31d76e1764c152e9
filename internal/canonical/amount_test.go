package canonical_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/bojanz/currency"
	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
)

func TestAmountValue(t *testing.T) {
	tests := []struct {
		name, number, currency string
		want                   string
	}{
		{name: "as the contract shows it", number: "4.200", currency: "PLN", want: "4.20"},
		{name: "a third digit that is not zero", number: "4.205", currency: "PLN", want: "4.205"},
		{name: "zero after digits that are not", number: "4.2050", currency: "PLN", want: "4.205"},
		{name: "zero between digits that are not", number: "4.0005", currency: "PLN", want: "4.0005"},
		{name: "no minor units", number: "100.00", currency: "JPY", want: "100"},
		{name: "no minor units, a digit that is not zero", number: "100.50", currency: "JPY", want: "100.5"},
		{name: "three minor units", number: "1", currency: "KWD", want: "1.000"},
		{name: "three minor units given two", number: "1.25", currency: "KWD", want: "1.250"},
		{name: "four minor units", number: "1.5", currency: "CLF", want: "1.5000"},
		{name: "integer", number: "7", currency: "EUR", want: "7.00"},
		{name: "one decimal", number: "7.5", currency: "EUR", want: "7.50"},
		{name: "recorded", number: "102.56", currency: "GBP", want: "102.56"},
		{name: "below one", number: "0.01", currency: "EUR", want: "0.01"},
		{name: "zeros before the point", number: "1000", currency: "EUR", want: "1000.00"},
		{name: "zero", number: "0", currency: "EUR", want: "0.00"},
		{name: "zero with decimals", number: "0.000", currency: "EUR", want: "0.00"},
		{name: "negative", number: "-4.200", currency: "PLN", want: "-4.20"},
		{name: "negative below one", number: "-0.01", currency: "EUR", want: "-0.01"},
		{name: "negative zero", number: "-0", currency: "EUR", want: "0.00"},
		{name: "negative zero with decimals", number: "-0.00", currency: "EUR", want: "0.00"},
		{name: "negative zero with exponent", number: "-0e5", currency: "EUR", want: "0.00"},
		{name: "unlisted currency, three digits", number: "4.200", currency: "BGN", want: "4.200"},
		{name: "unlisted currency, none", number: "4", currency: "BGN", want: "4"},
		{name: "unlisted currency, zero", number: "0.0", currency: "XAU", want: "0.0"},
		{name: "unlisted currency, negative", number: "-1.50", currency: "XAU", want: "-1.50"},
		{name: "unlisted currency, many zeros", number: "1.0000000000000000000", currency: "XAU", want: "1.0000000000000000000"},
		{name: "many zeros", number: "1.0000000000000000000", currency: "EUR", want: "1.00"},
		{name: "exponent", number: "1.5e1", currency: "EUR", want: "15.00"},
		{name: "capital exponent", number: "15E2", currency: "EUR", want: "1500.00"},
		{name: "exponent with plus", number: "1e+2", currency: "EUR", want: "100.00"},
		{name: "exponent down", number: "1234e-2", currency: "EUR", want: "12.34"},
		{name: "exponent below one", number: "5e-3", currency: "EUR", want: "0.005"},
		{name: "exponent down with decimals", number: "12.5e-1", currency: "EUR", want: "1.25"},
		{name: "exponent within the decimals", number: "1.2345e2", currency: "EUR", want: "123.45"},
		{name: "exponent nought", number: "12.30e0", currency: "EUR", want: "12.30"},
		{name: "exponent with leading zeros", number: "1e0002", currency: "EUR", want: "100.00"},
		{name: "exponent down to nought and back", number: "0.001e3", currency: "EUR", want: "1.00"},
		{name: "zero with a large exponent", number: "0e128", currency: "EUR", want: "0.00"},
		{name: "zero with a small exponent", number: "0e-128", currency: "EUR", want: "0.00"},
		{name: "no zero before the point", number: ".64", currency: "EUR", want: "0.64"},
		{name: "no zero before the point of a negative", number: "-.64", currency: "EUR", want: "-0.64"},
		{name: "no zero before the point, with an exponent", number: ".64e1", currency: "EUR", want: "6.40"},
		{name: "residue of doubles", number: "5.684341886080802e-14", currency: "GBP", want: "0.00000000000005684341886080802"},
		{name: "residue of doubles, negative", number: "-5.684341886080802E-14", currency: "GBP", want: "-0.00000000000005684341886080802"},
		{name: "residue of doubles, one digit", number: "1E-25", currency: "GBP", want: "0.0000000000000000000000001"},
		{
			name: "exact value of a double", number: "0.1000000000000000055511151231257827021181583404541015625", currency: "GBP",
			want: "0.1000000000000000055511151231257827021181583404541015625",
		},
		{name: "64 decimals", number: "1e-64", currency: "EUR", want: "0." + strings.Repeat("0", 63) + "1"},
		{
			name: "most digits", number: "-" + strings.Repeat("9", 18) + "." + strings.Repeat("9", 64), currency: "EUR",
			want: "-" + strings.Repeat("9", 18) + "." + strings.Repeat("9", 64),
		},
		{name: "zeros beyond 64 decimals", number: "1.5" + strings.Repeat("0", 100), currency: "EUR", want: "1.50"},
		{name: "unlisted currency, zeros beyond 64 decimals", number: "1.5" + strings.Repeat("0", 100), currency: "XAU", want: "1.5" + strings.Repeat("0", 63)},
		{name: "largest small exponent", number: "100e-20", currency: "EUR", want: "0.000000000000000001"},
		{name: "18 digits before the point", number: "999999999999999999", currency: "EUR", want: "999999999999999999.00"},
		{
			name: "18 digits on both sides", number: "-123456789012345678.123456789012345678", currency: "EUR",
			want: "-123456789012345678.123456789012345678",
		},
		{name: "more than 18 decimals, zeros", number: "1.50000000000000000000", currency: "EUR", want: "1.50"},
		{name: "what a binary float cannot hold", number: "0.1", currency: "CLF", want: "0.1000"},
		{name: "what a binary float rounds", number: "90071992547409.93", currency: "EUR", want: "90071992547409.93"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := canonical.ParseAmount(tt.number, tt.currency)
			if err != nil {
				t.Fatal(err)
			}
			if a.Value() != tt.want || a.Currency() != tt.currency {
				t.Errorf("got %s %s, want %s %s", a.Value(), a.Currency(), tt.want, tt.currency)
			}
			side := canonical.Credit
			if strings.HasPrefix(tt.want, "-") {
				side = canonical.Debit
			}
			if a.Indicator() != side {
				t.Errorf("%s is a %s, want %s", tt.want, a.Indicator(), side)
			}
			if zero := strings.Trim(tt.want, "-0.") == ""; a.IsZero() != zero {
				t.Errorf("%s: IsZero is %v", tt.want, a.IsZero())
			}
		})
	}
}

func TestAmountRefused(t *testing.T) {
	const form, bound, code = "form", "range", "currency"
	kinds := map[string]error{form: canonical.ErrAmountForm, bound: canonical.ErrAmountRange, code: canonical.ErrAmountCurrency}
	tests := []struct {
		name, number, currency string
		want                   string
	}{
		{name: "empty", number: "", currency: "EUR", want: form},
		{name: "minus alone", number: "-", currency: "EUR", want: form},
		{name: "plus", number: "+1", currency: "EUR", want: form},
		{name: "two minus", number: "--1", currency: "EUR", want: form},
		{name: "minus behind", number: "1-", currency: "EUR", want: form},
		{name: "point alone", number: ".", currency: "EUR", want: form},
		{name: "nothing around the point", number: "-.", currency: "EUR", want: form},
		{name: "exponent behind the point", number: ".e5", currency: "EUR", want: form},
		{name: "nothing behind the point", number: "1.", currency: "EUR", want: form},
		{name: "two points", number: "1.2.3", currency: "EUR", want: form},
		{name: "comma", number: "1,20", currency: "EUR", want: form},
		{name: "thousands", number: "1 000.00", currency: "EUR", want: form},
		{name: "space before", number: " 1", currency: "EUR", want: form},
		{name: "leading zero", number: "01", currency: "EUR", want: form},
		{name: "leading zero of a negative", number: "-01.5", currency: "EUR", want: form},
		{name: "hexadecimal", number: "0x10", currency: "EUR", want: form},
		{name: "underscore", number: "1_0", currency: "EUR", want: form},
		{name: "not a number", number: "NaN", currency: "EUR", want: form},
		{name: "infinity", number: "Infinity", currency: "EUR", want: form},
		{name: "JSON null", number: "null", currency: "EUR", want: form},
		{name: "JSON string", number: `"1"`, currency: "EUR", want: form},
		{name: "digits of another script", number: "٣", currency: "EUR", want: form},
		{name: "NUL", number: "1\x00", currency: "EUR", want: form},
		{name: "exponent without digits", number: "1e", currency: "EUR", want: form},
		{name: "exponent of a sign", number: "1e-", currency: "EUR", want: form},
		{name: "exponent of two signs", number: "1e+-2", currency: "EUR", want: form},
		{name: "exponent twice", number: "1e5e5", currency: "EUR", want: form},
		{name: "exponent with a point", number: "1e1.5", currency: "EUR", want: form},
		{name: "exponent alone", number: "e5", currency: "EUR", want: form},
		{name: "19 digits", number: "1234567890123456789", currency: "EUR", want: bound},
		{name: "65 decimals", number: "0." + strings.Repeat("1", 65), currency: "EUR", want: bound},
		{name: "19 digits by exponent", number: "1e18", currency: "EUR", want: bound},
		{name: "65 decimals by exponent", number: "1e-65", currency: "EUR", want: bound},
		{name: "exponent beyond the bound", number: "0e129", currency: "EUR", want: bound},
		{name: "small exponent beyond the bound", number: "0e-129", currency: "EUR", want: bound},
		{name: "exponent beyond an int", number: "1e99999999999999999999", currency: "EUR", want: bound},
		{name: "long text", number: "1." + strings.Repeat("0", 255), currency: "EUR", want: bound},
		{name: "no currency", number: "1", currency: "", want: code},
		{name: "small currency", number: "1", currency: "eur", want: code},
		{name: "two letters", number: "1", currency: "EU", want: code},
		{name: "four letters", number: "1", currency: "EURO", want: code},
		{name: "digit in the currency", number: "1", currency: "E1R", want: code},
		{name: "numeric currency", number: "1", currency: "978", want: code},
		{name: "sign of a currency", number: "1", currency: "€", want: code},
		{name: "currency with a space", number: "1", currency: "EU ", want: code},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := canonical.ParseAmount(tt.number, tt.currency)
			if !errors.Is(err, kinds[tt.want]) {
				t.Errorf("got %q, %v, want the error on %s", a.Value(), err, tt.want)
			}
			if a != (canonical.Amount{}) {
				t.Errorf("got %+v beside an error", a)
			}
			if _, err := canonical.ParseIndicatedAmount(tt.number, tt.currency, canonical.Credit); !errors.Is(err, kinds[tt.want]) {
				t.Errorf("with an indicator: got %v, want the error on %s", err, tt.want)
			}
		})
	}
}

func TestPlainNumber(t *testing.T) {
	for number, want := range map[string]string{
		"50044620073": "50044620073", "5.0044620073E10": "50044620073", "12345.0": "12345", "1.50": "1.50", "-7": "-7",
		"9007199254740993": "9007199254740993", "12345678901234567890123456789": "12345678901234567890123456789",
		"1e3": "1000", "25e-1": "2.5", "0": "0",
	} {
		if got, err := canonical.PlainNumber(number); err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", number, got, err, want)
		}
	}
	for _, number := range []string{"", "x", "1e999999999", "1e-129", strings.Repeat("1", 257)} {
		if got, err := canonical.PlainNumber(number); err == nil {
			t.Errorf("%s is %s", number, got)
		}
	}
}

// TestAmountHugeExponent holds that the size of an exponent costs nothing.
func TestAmountHugeExponent(t *testing.T) {
	for _, number := range []string{"1e999999999", "1e-999999999", "1e2147483648", "1e9223372036854775807"} {
		if _, err := canonical.ParseAmount(number, "EUR"); !errors.Is(err, canonical.ErrAmountRange) {
			t.Errorf("%s: got %v, want %v", number, err, canonical.ErrAmountRange)
		}
	}
	allocs := testing.AllocsPerRun(10, func() { _, _ = canonical.ParseAmount("1e999999999", "EUR") })
	if allocs > 4 {
		t.Errorf("a refusal allocates %v times", allocs)
	}
}

func TestIndicatedAmount(t *testing.T) {
	tests := []struct {
		name, number string
		indicator    canonical.Indicator
		want         string
		side         canonical.Indicator
		err          error
	}{
		{name: "credit", number: "10.00", indicator: canonical.Credit, want: "10.00", side: canonical.Credit},
		{name: "debit", number: "10.00", indicator: canonical.Debit, want: "-10.00", side: canonical.Debit},
		{name: "negative debit", number: "-10.00", indicator: canonical.Debit, want: "-10.00", side: canonical.Debit},
		{name: "negative credit", number: "-10.00", indicator: canonical.Credit, err: canonical.ErrAmountIndicator},
		{name: "zero credit", number: "0", indicator: canonical.Credit, want: "0.00", side: canonical.Credit},
		{name: "zero debit", number: "0.00", indicator: canonical.Debit, want: "0.00", side: canonical.Credit},
		{name: "negative zero credit", number: "-0.00", indicator: canonical.Credit, want: "0.00", side: canonical.Credit},
		{name: "negative zero debit", number: "-0", indicator: canonical.Debit, want: "0.00", side: canonical.Credit},
		{name: "no indicator", number: "1", indicator: "", err: canonical.ErrAmountIndicator},
		{name: "no indicator on zero", number: "0", indicator: "", err: canonical.ErrAmountIndicator},
		{name: "a word that is none", number: "1", indicator: "Credit", err: canonical.ErrAmountIndicator},
		{name: "no number", number: "x", indicator: canonical.Debit, err: canonical.ErrAmountForm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := canonical.ParseIndicatedAmount(tt.number, "EUR", tt.indicator)
			if tt.err != nil {
				if !errors.Is(err, tt.err) || a != (canonical.Amount{}) {
					t.Errorf("got %q, %v, want %v", a.Value(), err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.Value() != tt.want || a.Indicator() != tt.side {
				t.Errorf("got %s %s, want %s %s", a.Value(), a.Indicator(), tt.want, tt.side)
			}
		})
	}
}

// TestAmountErrorsHoldNoText holds that no error repeats what the provider sent.
func TestAmountErrorsHoldNoText(t *testing.T) {
	for _, number := range []string{"SENTINEL", "1eSENTINEL", "SENTINEL" + strings.Repeat("9", 99)} {
		for _, code := range []string{"EUR", "SENTINEL"} {
			if _, err := canonical.ParseAmount(number, code); err == nil || strings.Contains(err.Error(), "SENTINEL") {
				t.Errorf("%s %s: got %v", number, code, err)
			}
		}
	}
}

// number is a JSON number that is within the bounds, or just about not.
func number() *rapid.Generator[string] {
	return rapid.StringMatching(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,70})?([eE][+-]?[0-9]{1,2})?`)
}

func TestAmountIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := number().Draw(t, "number")
		code := rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "CLF", "BGN", "XAU"}).Draw(t, "currency")
		checkAmount(t, text, code)
	})
}

func TestIndicatedAmountAgreesWithItsSign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := number().Draw(t, "number")
		side := rapid.SampledFrom([]canonical.Indicator{canonical.Credit, canonical.Debit}).Draw(t, "indicator")
		a, err := canonical.ParseIndicatedAmount(text, "EUR", side)
		signed, signedErr := canonical.ParseAmount(text, "EUR")
		if signedErr != nil {
			if !errors.Is(err, signedErr) {
				t.Fatalf("%s: got %v, want %v", text, err, signedErr)
			}
			return
		}
		if side == canonical.Credit && signed.Indicator() == canonical.Debit {
			if !errors.Is(err, canonical.ErrAmountIndicator) {
				t.Fatalf("%s: got %v, want a contradiction", text, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s %s: %v", text, side, err)
		}
		want := rat(t, strings.TrimPrefix(text, "-"))
		if side == canonical.Debit {
			want.Neg(want)
		}
		if rat(t, a.Value()).Cmp(want) != 0 {
			t.Fatalf("%s %s became %s", text, side, a.Value())
		}
		if debit := want.Sign() < 0; debit != (a.Indicator() == canonical.Debit) {
			t.Fatalf("%s %s is shown as %s %s", text, side, a.Value(), a.Indicator())
		}
	})
}

func TestUnreadableAmountJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, `1`, `"1 EUR"`, `{"value":"1"}`, `{"currency":"EUR"}`, `{"value":"1","currency":"EURO"}`, `{"value":"1,5","currency":"EUR"}`,
		`{"value":1.5,"currency":"EUR"}`, `{"value":"1 ","currency":"EUR"}`,
	} {
		var a canonical.Amount
		if err := json.Unmarshal([]byte(text), &a); err == nil || a != (canonical.Amount{}) {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

var valueForm = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,64})?$`)

// checkAmount holds what is true of every text: it is refused by one of four errors, or is kept to
// the last digit.
func checkAmount(t failer, text, code string) {
	t.Helper()
	a, err := canonical.ParseAmount(text, code)
	if err != nil {
		known := errors.Is(err, canonical.ErrAmountForm) || errors.Is(err, canonical.ErrAmountRange) ||
			errors.Is(err, canonical.ErrAmountCurrency)
		if !known {
			t.Fatalf("%q %q: an error of another kind: %v", text, code, err)
		}
		return
	}
	written, err := json.Marshal(a)
	var read canonical.Amount
	if err != nil || json.Unmarshal(written, &read) != nil || read.Value() != a.Value() || read.Currency() != code {
		t.Fatalf("%q %q: written as %q and read as %+v, %v", text, code, written, read, err)
	}
	value := a.Value()
	if !valueForm.MatchString(value) || strings.HasPrefix(value, "-") && a.IsZero() {
		t.Fatalf("%q %q is written %q", text, code, value)
	}
	if rat(t, value).Cmp(rat(t, text)) != 0 {
		t.Fatalf("%q %q became %q", text, code, value)
	}
	if (rat(t, value).Sign() < 0) != (a.Indicator() == canonical.Debit) {
		t.Fatalf("%q %q is %s", text, code, a.Indicator())
	}
	if digits, listed := currency.GetDigits(code); listed {
		_, frac, _ := strings.Cut(value, ".")
		if len(frac) < int(digits) || len(frac) > int(digits) && strings.HasSuffix(frac, "0") {
			t.Fatalf("%q %s is written %q with %d minor units", text, code, value, digits)
		}
	}
	again, err := canonical.ParseAmount(value, code)
	if err != nil || again.Value() != value {
		t.Fatalf("%q read again is %q, %v", value, again.Value(), err)
	}
}

func rat(t failer, text string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return r
}

// FuzzAmount reads any text as an amount. Its seeds stand in testdata.
func FuzzAmount(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, code string) { checkAmount(t, text, code) })
}

// TestCurrencyTable holds the list of minor units equal to the standard's, for every code that
// there can be. "1.0" shows each of them, and none: a code that the list does not hold keeps its
// one digit.
func TestCurrencyTable(t *testing.T) {
	written := map[uint8]string{0: "1", 2: "1.00", 3: "1.000", 4: "1.0000"}
	listed := 0
	for i := range 26 * 26 * 26 {
		code := string([]byte{'A' + byte(i/676), 'A' + byte(i/26%26), 'A' + byte(i%26)})
		a, err := canonical.ParseAmount("1.0", code)
		if err != nil {
			t.Fatal(err)
		}
		want := "1.0"
		if digits, ok := currency.GetDigits(code); ok {
			listed++
			want = written[digits]
		}
		if a.Value() != want {
			t.Errorf("1.0 %s: got %s, want %s", code, a.Value(), want)
		}
	}
	if listed != len(currency.GetCurrencyCodes()) || listed < 150 {
		t.Errorf("saw %d currencies of %d", listed, len(currency.GetCurrencyCodes()))
	}
}
