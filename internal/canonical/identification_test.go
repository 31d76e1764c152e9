package canonical_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jacoelho/banking/iban"
	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
)

// realIBANs are the examples of the SWIFT IBAN registry and of this project's sources.
var realIBANs = []string{
	"AD1200012030200359100100", "AE070331234567890123456", "AL47212110090000000235698741", "AT611904300234573201",
	"BE68539007547034", "BG80BNBG96611020345678", "CH9300762011623852957", "CY17002001280000001200527600",
	"CZ6508000000192000145399", "DE89370400440532013000", "DK5000400440116243", "EE382200221020145685",
	"ES9121000418450200051332", "FI2112345600000785", "FR1420041010050500013M02606", "GB29NWBK60161331926819",
	"GR1601101250000000012300695", "HR1210010051863000160", "HU42117730161111101800000000", "IE29AIBK93115212345678",
	"IS140159260076545510730339", "IT60X0542811101000000123456", "KZ86125KZT5004100100", "LC55HEMM000100010012001200023015",
	"LI21088100002324013AA", "LT121000011101001000", "LU280019400644750000", "LV80BANK0000435195001",
	"MC5811222000010123456789030", "MD24AG000225100013104168", "MT84MALT011000012345MTLCAST001S", "NL91ABNA0417164300",
	"NO9386011117947", "PL61109010140000071219812874", "PT50000201231234567890154", "RO49AAAA1B31007593840000",
	"SA0380000000608010167519", "SE4550000000058398257466", "SI56263300012039086", "SK3112000000198742637541",
	"SM86U0322509800000000270100", "TR330006100519786457841326", "UA213223130000026007233566001",
}

func TestIdentify(t *testing.T) {
	const iban, bban, pan = canonical.SchemeIBAN, canonical.SchemeBBAN, canonical.SchemePAN
	tests := []struct {
		name   string
		scheme canonical.Scheme
		value  string
		want   canonical.Identification
	}{
		{name: "nothing", scheme: iban, value: ""},
		{name: "white space", scheme: pan, value: " \t"},
		{name: "IBAN", scheme: iban, value: "DE89370400440532013000", want: canonical.Identification{Scheme: iban, Value: "DE89370400440532013000"}},
		{name: "IBAN on paper", scheme: iban, value: " de89 3704 0044 0532 0130 00 ", want: canonical.Identification{Scheme: iban, Value: "DE89370400440532013000"}},
		{name: "wrong check digits", scheme: iban, value: "DE88 3704 0044 0532 0130 00", want: canonical.Identification{Scheme: bban, Value: "DE88 3704 0044 0532 0130 00"}},
		{name: "wrong digit", scheme: iban, value: "de89370400440532013001", want: canonical.Identification{Scheme: bban, Value: "de89370400440532013001"}},
		{name: "a number that is no IBAN", scheme: iban, value: "70000170000005", want: canonical.Identification{Scheme: bban, Value: "70000170000005"}},
		{name: "14 characters", scheme: iban, value: "NO938601111794", want: canonical.Identification{Scheme: bban, Value: "NO938601111794"}},
		{name: "letter of another script", scheme: iban, value: "DЕ89370400440532013000", want: canonical.Identification{Scheme: bban, Value: "DЕ89370400440532013000"}},
		{name: "BBAN", scheme: bban, value: " 70000170000005 ", want: canonical.Identification{Scheme: bban, Value: "70000170000005"}},
		{name: "BBAN that is an IBAN", scheme: bban, value: "DE89370400440532013000", want: canonical.Identification{Scheme: bban, Value: "DE89370400440532013000"}},
		{name: "sort code", scheme: canonical.SchemeSortCode, value: "20000055779911", want: canonical.Identification{Scheme: canonical.SchemeSortCode, Value: "20000055779911"}},
		{name: "provider's number", scheme: canonical.SchemeProvider, value: "50044620073", want: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "50044620073"}},
		{name: "PAN", scheme: pan, value: "5555341244441115", want: canonical.Identification{Scheme: pan, Value: "555534******1115"}},
		{name: "PAN on the card", scheme: pan, value: "5555 3412 4444 1115", want: canonical.Identification{Scheme: pan, Value: "555534******1115"}},
		{name: "PAN with dashes", scheme: pan, value: "5555-3412-4444-1115", want: canonical.Identification{Scheme: pan, Value: "555534******1115"}},
		{name: "PAN with points and dashes of print", scheme: pan, value: "5555.3412\u20134444\u00a01115", want: canonical.Identification{Scheme: pan, Value: "555534******1115"}},
		{name: "PAN of 19", scheme: pan, value: "6304000000000000018", want: canonical.Identification{Scheme: pan, Value: "630400*********0018"}},
		{name: "PAN of 13", scheme: pan, value: "4222222222225", want: canonical.Identification{Scheme: pan, Value: "422222***2225"}},
		{name: "PAN of 12", scheme: pan, value: "501800000009", want: canonical.Identification{Scheme: pan, Value: "********0009"}},
		{name: "PAN of 5", scheme: pan, value: "12345", want: canonical.Identification{Scheme: pan, Value: "*2345"}},
		{name: "PAN of 4", scheme: pan, value: "1234", want: canonical.Identification{Scheme: pan, Value: "****"}},
		{name: "PAN masked already", scheme: pan, value: "555534******1115", want: canonical.Identification{Scheme: pan, Value: "555534******1115"}},
		{name: "PAN of letters", scheme: pan, value: "ключключключключ", want: canonical.Identification{Scheme: pan, Value: "ключкл******ключ"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := canonical.NewIdentification(tt.scheme, tt.value)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			want := ""
			if tt.want.Scheme == iban {
				want = tt.want.Value
			}
			if got.IBAN() != want {
				t.Errorf("IBAN is %q, want %q", got.IBAN(), want)
			}
		})
	}
}

func TestIdentifyAll(t *testing.T) {
	type ids = []canonical.Identification
	of := func(scheme canonical.Scheme, value string) canonical.Identification {
		return canonical.Identification{Scheme: scheme, Value: value}
	}
	const (
		iban, bban, pan  = canonical.SchemeIBAN, canonical.SchemeBBAN, canonical.SchemePAN
		sort, provider   = canonical.SchemeSortCode, canonical.SchemeProvider
		card, masked     = "5413330000000019", "541333******0019"
		account, another = "DE89370400440532013000", "50044620073"
	)
	tests := []struct {
		name    string
		card    bool
		numbers ids
		first   canonical.Identification
		others  ids
	}{
		{name: "none"},
		{name: "empty ones", numbers: ids{of(iban, " "), of(provider, "")}},
		{name: "one", numbers: ids{of(provider, another)}, first: of(provider, another)},
		{
			name: "all, in any order", numbers: ids{of(provider, "p"), of(pan, card), of(bban, "b"), of(sort, "s"), of(iban, account)},
			first: of(iban, account), others: ids{of(sort, "s"), of(bban, "b"), of(pan, masked), of(provider, "p")},
		},
		{name: "no IBAN after all", numbers: ids{of(iban, "DE88"), of(sort, "s")}, first: of(sort, "s"), others: ids{of(bban, "DE88")}},
		{name: "twice", numbers: ids{of(provider, another), of(provider, " "+another)}, first: of(provider, another)},
		{name: "a card's, no scheme", card: true, numbers: ids{of(provider, card)}, first: of(pan, masked)},
		{name: "a card's, as BBAN", card: true, numbers: ids{of(bban, "5413 3300 0000 0019")}, first: of(pan, masked)},
		{name: "a card's, as IBAN", card: true, numbers: ids{of(iban, card)}, first: of(pan, masked)},
		{name: "a card's, as sort code", card: true, numbers: ids{of(sort, card)}, first: of(pan, masked)},
		{name: "a card's, of 8 digits", card: true, numbers: ids{of(provider, "12345674")}, first: of(pan, "****5674")},
		{name: "a card's, of 19 digits", card: true, numbers: ids{of(provider, "6304000000000000018")}, first: of(pan, "630400*********0018")},
		{name: "a card's, of 20 digits", card: true, numbers: ids{of(provider, "54133300000000000001")}, first: of(provider, "54133300000000000001")},
		{name: "a card's, wrong check digit", card: true, numbers: ids{of(provider, "5413330000000018")}, first: of(provider, "5413330000000018")},
		{name: "a card's, beside its IBAN", card: true, numbers: ids{of(provider, card), of(iban, account)}, first: of(iban, account), others: ids{of(pan, masked)}},
		{name: "a card's by its other number", numbers: ids{of(provider, card), of(pan, "4111111111111111")}, first: of(pan, masked), others: ids{of(pan, "411111******1111")}},
		{name: "no card's", numbers: ids{of(provider, card)}, first: of(provider, card)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, others := canonical.IdentifyAll(tt.card, tt.numbers...)
			if diff := cmp.Diff(tt.first, first); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Errorf("others: -want +got:\n%s", diff)
			}
		})
	}
}

// TestCardNumberIsHidden holds that no number of a card's account that has the right check digit is
// shown.
func TestCardNumberIsHidden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scheme := rapid.SampledFrom([]canonical.Scheme{
			canonical.SchemeIBAN, canonical.SchemeSortCode, canonical.SchemeBBAN, canonical.SchemePAN, canonical.SchemeProvider,
		}).Draw(t, "scheme")
		body := rapid.StringMatching(`[0-9]{7,18}`).Draw(t, "number")
		shown := 0
		for digit := range 10 {
			number := fmt.Sprint(body, digit)
			got, _ := canonical.IdentifyAll(true, canonical.Identification{Scheme: scheme, Value: number})
			if got.Value == number {
				shown++
			}
		}
		if want := 9; scheme == canonical.SchemePAN && shown != 0 || scheme != canonical.SchemePAN && shown != want {
			t.Fatalf("%d of the ten numbers that begin with %s are shown as %s", shown, body, scheme)
		}
	})
}

func TestIsCardID(t *testing.T) {
	for id, want := range map[string]bool{
		"5413330000000019": true, "5413 3300-0000 0019": true, "371449635398431": true, "501800000009": true,
		"5413330000000018": false, "541333******0019": false, "12345674": false, "": false, "aa:q648383844dhhfHhTV": false,
	} {
		if canonical.IsCardID(id) != want {
			t.Errorf("%s: %t", id, !want)
		}
	}
}

func holds(value string) bool {
	return canonical.NewIdentification(canonical.SchemeIBAN, value).IBAN() == value
}

func TestRealIBANs(t *testing.T) {
	for _, value := range realIBANs {
		if err := iban.Validate(value); err != nil {
			t.Errorf("%s is no example of an IBAN: %v", value, err)
		}
		if !holds(value) {
			t.Errorf("%s is refused", value)
		}
		if paper := iban.PaperFormat(value); canonical.NewIdentification(canonical.SchemeIBAN, paper).IBAN() != value {
			t.Errorf("%s is refused", paper)
		}
	}
}

// TestCorruptIBANs changes each character of each example into every other of its class, and swaps
// it with the next. MOD 97-10 finds all of these (a digit in a letter's place it finds but for one
// in 97).
func TestCorruptIBANs(t *testing.T) {
	for _, value := range realIBANs {
		for i := range len(value) {
			for _, c := range class(value[i]) {
				if changed := value[:i] + string(c) + value[i+1:]; changed != value && holds(changed) {
					t.Errorf("%s passes for %s", changed, value)
				}
			}
			if i+1 == len(value) || value[i] == value[i+1] || class(value[i]) != class(value[i+1]) {
				continue
			}
			if swapped := value[:i] + string(value[i+1]) + string(value[i]) + value[i+2:]; holds(swapped) {
				t.Errorf("%s passes for %s", swapped, value)
			}
		}
		if changed := value[:8] + "-" + value[8:]; holds(changed) {
			t.Errorf("%s passes for %s", changed, value)
		}
	}
}

func class(c byte) string {
	if c <= '9' {
		return "0123456789"
	}
	return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
}

// TestIBANCheckDigitsRange holds that check digits are from 02 to 98: 00, 01 and 99 leave the same
// rest as 97, 98 and 02, and are never given out.
func TestIBANCheckDigitsRange(t *testing.T) {
	for genuine, alias := range map[string]string{"97": "00", "98": "01", "02": "99"} {
		seen := false
		for i := range 1000 {
			bban := fmt.Sprintf("370400440532%06d", i)
			if !holds("DE" + genuine + bban) {
				continue
			}
			seen = true
			if holds("DE" + alias + bban) {
				t.Errorf("DE%s%s is taken", alias, bban)
			}
		}
		if !seen {
			t.Errorf("no number has the check digits %s", genuine)
		}
	}
}

// TestIBANsOfEveryCountry holds that what the registry's rules make is taken, and that one wrong
// digit is not.
func TestIBANsOfEveryCountry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		country := rapid.SampledFrom(realIBANs).Draw(t, "example")[:2]
		value, err := iban.Generate(country)
		if err != nil {
			t.Fatal(err)
		}
		if !holds(value) {
			t.Fatalf("%s is refused", value)
		}
		at := rapid.IntRange(2, len(value)-1).Draw(t, "at")
		digit := rapid.SampledFrom([]byte("0123456789")).Draw(t, "digit")
		if value[at] == digit || value[at] > '9' {
			return
		}
		if changed := value[:at] + string(digit) + value[at+1:]; holds(changed) {
			t.Fatalf("%s passes for %s", changed, value)
		}
	})
}

// TestPANIsHidden holds that of a card's number at most ten digits are shown, and never all.
func TestPANIsHidden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pan := rapid.StringMatching(`[0-9]{1,24}`).Draw(t, "pan")
		got := canonical.NewIdentification(canonical.SchemePAN, pan).Value
		if len(got) != len(pan) || !strings.Contains(got, "*") {
			t.Fatalf("%s is shown as %s", pan, got)
		}
		first, last := 6, 4
		for i := range len(got) {
			if got[i] != '*' && (got[i] != pan[i] || i >= first && i < len(pan)-last) {
				t.Fatalf("%s is shown as %s", pan, got)
			}
		}
	})
}
