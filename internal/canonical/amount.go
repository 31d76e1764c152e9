package canonical

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Limits of an amount. The exact decimal value of a binary float close to zero has about 60
// fraction digits. Numbers beyond the limits are refused before their digits are expanded.
const (
	maxNumberText     = 256 // bytes
	maxExponent       = 128 // positive or negative
	maxIntegerDigits  = 18
	maxFractionDigits = 64
)

// Errors of amounts. Their texts contain no text of the provider.
var (
	ErrAmountForm      = errors.New("amount is not a decimal number")
	ErrAmountRange     = errors.New("amount has too many digits")
	ErrAmountCurrency  = errors.New("currency is not three capital letters")
	ErrAmountIndicator = errors.New("sign and credit/debit indicator contradict each other")
)

// Indicator is an ISO 20022 credit/debit indicator.
type Indicator string

// The two indicators. Zero is a credit.
const (
	Credit Indicator = "CRDT"
	Debit  Indicator = "DBIT"
)

// Amount is an exact decimal amount of a currency, negative for a debit. ParseAmount and
// ParseIndicatedAmount create it. It keeps every digit that the provider sent and is never rounded.
type Amount struct {
	negative    bool
	whole, frac string // decimal digits; whole has no leading zeros, except for "0"
	currency    string
}

// ParseAmount parses a signed decimal number and an ISO 4217 currency. The number has the syntax of
// JSON numbers (RFC 8259, section 6), or no digit before its point. It can have 18 integer and 64
// fraction digits. The errors are ErrAmountForm, ErrAmountRange and ErrAmountCurrency.
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

// PlainNumber returns a JSON number in plain digits, without an exponent and without a fraction of
// zeros. The value is unchanged. The errors are ErrAmountForm and ErrAmountRange.
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

// parseDecimal splits a number into its sign and the digits before and after the point, without
// leading zeros.
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

// ParseIndicatedAmount parses a decimal number whose sign is given by an indicator. A negative
// number with Debit is a debit. A negative number with Credit, or an unknown indicator, returns
// ErrAmountIndicator. Zero is always a credit. The other errors are those of ParseAmount.
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

// Value returns the exact amount as a decimal string. It has at least the digits of the currency's
// ISO 4217 minor unit, and further digits only if they are not all zero. For a currency that ISO
// 4217 does not list, it has the digits that the provider sent.
func (a Amount) Value() string { return string(a.appendValue(make([]byte, 0, 32))) }

// appendValue appends Value.
func (a Amount) appendValue(text []byte) []byte {
	frac := a.frac
	if minor, known := minorUnits(a.currency); known {
		for len(frac) > minor && frac[len(frac)-1] == '0' {
			frac = frac[:len(frac)-1]
		}
		if len(frac) < minor {
			frac += strings.Repeat("0", minor-len(frac))
		}
	}
	if a.negative {
		text = append(text, '-')
	}
	text = append(text, a.whole...)
	if frac != "" {
		text = append(append(text, '.'), frac...)
	}
	return text
}

// Currency returns the ISO 4217 alphabetic code.
func (a Amount) Currency() string { return a.currency }

// amountJSON is the JSON form of an Amount.
type amountJSON struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

// MarshalJSON returns the JSON of the API, with Value and Currency.
func (a Amount) MarshalJSON() ([]byte, error) { return a.appendJSON(make([]byte, 0, 64)), nil }

// appendJSON appends the output of MarshalJSON.
func (a Amount) appendJSON(text []byte) []byte {
	text = append(text, `{"value":"`...)
	text = a.appendValue(text)
	text = append(append(text, `","currency":"`...), a.currency...)
	return append(text, `"}`...)
}

// UnmarshalJSON parses the output of MarshalJSON. Its errors are those of ParseAmount and of
// encoding/json.
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

// Indicator returns Debit for a negative amount, and Credit otherwise.
func (a Amount) Indicator() Indicator {
	if a.negative {
		return Debit
	}
	return Credit
}

// IsZero reports whether the amount is 0.
func (a Amount) IsZero() bool { return strings.Trim(a.whole+a.frac, "0") == "" }

// splitExponent splits a number into its mantissa and its power of ten. It refuses an exponent
// beyond maxExponent, so that 1e999999999 is cheap.
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

// shift moves the point by a power of ten and removes leading zeros.
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

// isDigits reports whether s is a non-empty text of decimal digits.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
