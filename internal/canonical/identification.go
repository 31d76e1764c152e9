package canonical

import (
	"slices"
	"strings"
	"unicode"
)

// Scheme is the kind of number that identifies an account.
type Scheme string

// The schemes that the gateway knows.
const (
	SchemeIBAN     Scheme = "IBAN"                     // ISO 13616, check digits verified
	SchemeBBAN     Scheme = "BBAN"                     // a national number, or an IBAN whose check digits are wrong
	SchemeSortCode Scheme = "SORT_CODE_ACCOUNT_NUMBER" // UK: six digits sort code, eight digits account number
	SchemePAN      Scheme = "PAN"                      // a card number, always masked
	SchemeProvider Scheme = "PROVIDER"                 // the provider's own number
)

// Identification is the number of an account, and its scheme.
type Identification struct {
	Scheme Scheme `json:"scheme"`
	Value  string `json:"value"`
}

// IBAN returns the value if it is a valid IBAN, and "" otherwise.
func (i Identification) IBAN() string {
	if i.Scheme == SchemeIBAN {
		return i.Value
	}
	return ""
}

// NewIdentification returns the identification for a scheme and a value from a provider. A valid
// IBAN gets its electronic form (ISO 13616: upper case, no spaces). An IBAN with wrong check digits
// becomes a BBAN with unchanged text. A PAN is masked. For an empty value the result is zero.
func NewIdentification(s Scheme, value string) Identification {
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		return Identification{}
	case s == SchemeIBAN:
		compact := strings.ToUpper(strings.Map(func(c rune) rune {
			if unicode.IsSpace(c) {
				return -1
			}
			return c
		}, value))
		if validIBAN(compact) {
			return Identification{SchemeIBAN, compact}
		}
		return Identification{SchemeBBAN, value}
	case s == SchemePAN:
		return Identification{SchemePAN, maskPAN(value)}
	default:
		return Identification{s, value}
	}
}

// schemeOrder is the order of the numbers of one account.
var schemeOrder = []Scheme{SchemeIBAN, SchemeSortCode, SchemeBBAN, SchemePAN, SchemeProvider}

// IdentifyAll returns the identifications for all numbers of one account, without duplicates, in
// the order IBAN, sort code, BBAN, PAN, PROVIDER: the first one, and the others. numbers have the
// schemes and values that the provider gave. If card is true or a number has scheme PAN, the
// account is a card account: each of its numbers that can be a card number becomes a masked PAN.
func IdentifyAll(card bool, numbers ...Identification) (first Identification, others []Identification) {
	card = card || slices.ContainsFunc(numbers, func(n Identification) bool { return n.Scheme == SchemePAN })
	all := make([]Identification, 0, len(numbers))
	for _, n := range numbers {
		id := NewIdentification(n.Scheme, n.Value)
		if card && isCardNumber(id.Value, minCardNumber) {
			id = NewIdentification(SchemePAN, id.Value)
		}
		if id.Value != "" && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return Identification{}, nil
	}
	slices.SortStableFunc(all, func(a, b Identification) int {
		return slices.Index(schemeOrder, a.Scheme) - slices.Index(schemeOrder, b.Scheme)
	})
	if len(all) > 1 {
		others = all[1:]
	}
	return all[0], others
}

// Lengths of card numbers in digits: ISO/IEC 7812-1 allows 8 to 19, and cards in use have at least
// 12.
const (
	minCardNumber = 8
	minCardInUse  = 12
	maxCardNumber = 19
)

// IsCardID reports whether an account id is a full card number. Masking it is not possible, because
// the account would no longer be addressable.
func IsCardID(id string) bool { return isCardNumber(id, minCardInUse) }

// isCardNumber reports whether value is a card number with at least minDigits digits and a valid
// check digit (ISO/IEC 7812-1, annex B: the Luhn formula).
func isCardNumber(value string, minDigits int) bool {
	digits := withoutSeparators(value)
	if len(digits) < minDigits || len(digits) > maxCardNumber {
		return false
	}
	sum := 0
	for i, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return sum%10 == 0
}

// withoutSeparators returns value without the spaces, dashes and points between groups of digits.
func withoutSeparators(value string) []rune {
	return []rune(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.In(c, unicode.Pd, unicode.Cf) || c == '.' {
			return -1
		}
		return c
	}, value))
}

// validIBAN checks the form and the check digits by ISO 13616 and ISO 7064 MOD 97-10. Check digits
// are from 02 to 98.
func validIBAN(s string) bool {
	if len(s) < 15 || len(s) > 34 {
		return false
	}
	for i := range len(s) {
		letter, digit := 'A' <= s[i] && s[i] <= 'Z', '0' <= s[i] && s[i] <= '9'
		if i < 2 && !letter || (i == 2 || i == 3) && !digit || !letter && !digit {
			return false
		}
	}
	if check := s[2:4]; check < "02" || check > "98" {
		return false
	}
	rest := 0
	for _, c := range s[4:] + s[:4] {
		if c <= '9' {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A'+10)) % 97
		}
	}
	return rest == 1
}

// maskPAN masks all but the first six and the last four characters of a card number (PCI DSS
// 3.4.1). If fewer than three characters would be masked, it shows only the last four; of up to
// four characters it masks all.
func maskPAN(value string) string {
	pan := withoutSeparators(value)
	first, last := 6, 4
	if len(pan) < first+last+3 {
		first = 0
	}
	if len(pan) <= last {
		last = 0
	}
	for i := first; i < len(pan)-last; i++ {
		pan[i] = '*'
	}
	return string(pan)
}
