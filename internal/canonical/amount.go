package canonical

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Bounds of an amount. The exact decimal value of a binary float close to zero has some 60 fraction digits. A number
// beyond these bounds is refused before any digit is written out.
const (
	maxNumberText     = 256 // bytes
	maxExponent       = 128 // either way
	maxIntegerDigits  = 18
	maxFractionDigits = 64
)

// What may be wrong with an amount. None of these errors holds any of the provider's text.
var (
	ErrAmountForm      = errors.New("amount is not a decimal number")
	ErrAmountRange     = errors.New("amount has too many digits")
	ErrAmountCurrency  = errors.New("currency is not three capital letters")
	ErrAmountIndicator = errors.New("sign and credit/debit indicator contradict each other")
)

// Indicator says on which side of the account a balance stands, in the words of ISO 20022.
type Indicator string

// The two sides. Zero is a credit.
const (
	Credit Indicator = "CRDT"
	Debit  Indicator = "DBIT"
)

// An Amount is an exact decimal number of units of a currency, negative for a debit. It is made by
// ParseAmount or ParseIndicatedAmount alone, holds every digit that the provider sent, and is never rounded.
type Amount struct {
	negative    bool
	whole, frac string // decimal digits; whole has no leading zero but the one of "0"
	currency    string
}

// ParseAmount reads a signed decimal number and an ISO 4217 currency. The number is written as JSON writes numbers
// (RFC 8259, section 6), or without the zero before its point. It has up to 18 integer and 64 fraction digits. Its
// errors are those of this package.
func ParseAmount(number, currency string) (Amount, error) {
	if !ValidCurrency(currency) {
		return Amount{}, ErrAmountCurrency
	}
	negative, whole, frac, err := parseDecimal(number)
	if err != nil {
		return Amount{}, err
	}
	if len(frac) > maxFractionDigits && strings.Trim(frac[maxFractionDigits:], "0") == "" {
		frac = frac[:maxFractionDigits]
	}
	if len(whole) > maxIntegerDigits || len(frac) > maxFractionDigits {
		return Amount{}, ErrAmountRange
	}
	a := Amount{negative: negative, whole: whole, frac: frac, currency: currency}
	a.negative = negative && !a.IsZero()
	return a, nil
}

// PlainNumber is a JSON number in plain digits, without an exponent and without a fraction of zeros: exactly the
// number, as a text. Its errors are ErrAmountForm and ErrAmountRange.
func PlainNumber(number string) (string, error) {
	negative, whole, frac, err := parseDecimal(number)
	if err != nil {
		return "", err
	}
	if strings.Trim(frac, "0") != "" {
		whole += "." + frac
	}
	if negative {
		whole = "-" + whole
	}
	return whole, nil
}

// parseDecimal cuts a number into its sign and its digits before and after the point, without leading zeros.
func parseDecimal(number string) (negative bool, whole, frac string, err error) {
	if len(number) > maxNumberText {
		return false, "", "", ErrAmountRange
	}
	mantissa, exponent, err := splitExponent(number)
	if err != nil {
		return false, "", "", err
	}
	unsigned, negative := strings.CutPrefix(mantissa, "-")
	whole, frac, point := strings.Cut(unsigned, ".")
	if whole == "" && point {
		whole = "0"
	}
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || point && !isDigits(frac) {
		return false, "", "", ErrAmountForm
	}
	whole, frac = shift(whole, frac, exponent)
	return negative, whole, frac, nil
}

// ParseIndicatedAmount reads a decimal number whose sign stands in an indicator beside it. A negative number
// with Debit is taken as the debit it is, with Credit it is ErrAmountIndicator; zero is a credit whatever the
// indicator says.
func ParseIndicatedAmount(number, currency string, indicator Indicator) (Amount, error) {
	a, err := ParseAmount(number, currency)
	switch {
	case err != nil:
		return Amount{}, err
	case indicator != Credit && indicator != Debit, a.negative && indicator == Credit:
		return Amount{}, ErrAmountIndicator
	}
	a.negative = indicator == Debit && !a.IsZero()
	return a, nil
}

// Value is the amount as a decimal string: exact, with at least the currency's ISO 4217 minor units, and more
// digits only where they are not zero. For a currency that the standard's list does not hold, the digits are
// those that the provider sent.
func (a Amount) Value() string {
	frac := a.frac
	if minor, known := minorUnits(a.currency); known {
		for len(frac) > minor && frac[len(frac)-1] == '0' {
			frac = frac[:len(frac)-1]
		}
		if len(frac) < minor {
			frac += strings.Repeat("0", minor-len(frac))
		}
	}
	var b strings.Builder
	if a.negative {
		b.WriteByte('-')
	}
	b.WriteString(a.whole)
	if frac != "" {
		b.WriteByte('.')
		b.WriteString(frac)
	}
	return b.String()
}

// Currency is the amount's ISO 4217 alphabetic code.
func (a Amount) Currency() string { return a.currency }

// amountJSON is the JSON form of an Amount.
type amountJSON struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

// MarshalJSON returns the amount as the API sends it: Value and Currency.
func (a Amount) MarshalJSON() ([]byte, error) { return json.Marshal(amountJSON{a.Value(), a.currency}) }

// UnmarshalJSON reads what MarshalJSON wrote. Its errors are those of ParseAmount and of encoding/json.
func (a *Amount) UnmarshalJSON(text []byte) error {
	var read amountJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	amount, err := ParseAmount(read.Value, read.Currency)
	if err == nil {
		*a = amount
	}
	return err
}

// Indicator is Debit for a negative amount, else Credit.
func (a Amount) Indicator() Indicator {
	if a.negative {
		return Debit
	}
	return Credit
}

// IsZero reports whether the amount is nought.
func (a Amount) IsZero() bool { return strings.Trim(a.whole+a.frac, "0") == "" }

// splitExponent cuts a number into its mantissa and its power of ten. An exponent beyond the bound is refused
// by its text, so that 1e999999999 costs nothing.
func splitExponent(number string) (mantissa string, exponent int, err error) {
	at := strings.IndexAny(number, "eE")
	if at < 0 {
		return number, 0, nil
	}
	digits := strings.TrimPrefix(number[at+1:], "+")
	if len(digits) == len(number[at+1:]) {
		digits = strings.TrimPrefix(digits, "-")
	}
	if !isDigits(digits) {
		return "", 0, ErrAmountForm
	}
	exponent, err = strconv.Atoi(digits)
	if err != nil || exponent > maxExponent {
		return "", 0, ErrAmountRange
	}
	if number[at+1] == '-' {
		exponent = -exponent
	}
	return number[:at], exponent, nil
}

// shift moves the point by a power of ten, and drops leading zeros.
func shift(whole, frac string, exponent int) (string, string) {
	if exponent > 0 {
		frac += strings.Repeat("0", max(0, exponent-len(frac)))
		whole, frac = whole+frac[:exponent], frac[exponent:]
	}
	if exponent < 0 {
		whole = strings.Repeat("0", max(0, -exponent-len(whole))) + whole
		at := len(whole) + exponent
		whole, frac = whole[:at], whole[at:]+frac
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	return whole, frac
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
