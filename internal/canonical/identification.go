package canonical

import (
	"slices"
	"strings"
	"unicode"
)

// Scheme says what kind of number identifies an account.
type Scheme string

// The schemes of identification that the gateway knows.
const (
	SchemeIBAN     Scheme = "IBAN"                     // ISO 13616, check digits verified
	SchemeBBAN     Scheme = "BBAN"                     // a national number, and what claims to be an IBAN but fails its check
	SchemeSortCode Scheme = "SORT_CODE_ACCOUNT_NUMBER" // UK: six digits of sort code, eight of account number
	SchemePAN      Scheme = "PAN"                      // a card's number, held masked
	SchemeProvider Scheme = "PROVIDER"                 // the provider's own number
)

// Identification is the number by which an account is known, and the scheme that the number belongs to.
type Identification struct {
	Scheme Scheme `json:"scheme"`
	Value  string `json:"value"`
}

// IBAN is the value if it is an IBAN whose check digits hold, else "".
func (i Identification) IBAN() string {
	if i.Scheme == SchemeIBAN {
		return i.Value
	}
	return ""
}

// Identify makes an identification out of a scheme and a value as a provider gave them. What claims to be an
// IBAN and fails its check digits is a BBAN with the text as it came; an IBAN is put into its electronic form
// (ISO 13616: upper case, no spaces). A PAN is masked. An empty value identifies nothing.
func NewIdentification(s Scheme, value string) Identification {
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		return Identification{}
	case s == SchemeIBAN:
		compact := strings.ToUpper(strings.Join(strings.Fields(value), ""))
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

// schemeOrder is the order of several numbers of one account.
var schemeOrder = []Scheme{SchemeIBAN, SchemeSortCode, SchemeBBAN, SchemePAN, SchemeProvider}

// IdentifyAll makes identifications of all numbers of one account, each with the scheme and the value that the provider
// gave: the first by which the account is known, and the others, each once, in the order IBAN, sort code, BBAN, PAN,
// PROVIDER. The account is a card's if card is true or a number has scheme PAN: any number of it that can be a card's
// is a masked PAN, whatever its scheme.
func IdentifyAll(card bool, numbers ...Identification) (first Identification, others []Identification) {
	card = card || slices.ContainsFunc(numbers, func(n Identification) bool { return n.Scheme == SchemePAN })
	var all []Identification
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

// Digits of a card's number: ISO/IEC 7812-1 allows 8 to 19, and no card in use has fewer than 12.
const (
	minCardNumber = 8
	minCardInUse  = 12
	maxCardNumber = 19
)

// IsCardID reports whether an account's id is a full card number. Such an id cannot be masked: the account could not be
// addressed by it any more.
func IsCardID(id string) bool { return isCardNumber(id, minCardInUse) }

// isCardNumber reports whether a value has the digits of a card's number, at least so many, and the right check digit
// (ISO/IEC 7812-1, annex B: the Luhn formula).
func isCardNumber(value string, least int) bool {
	digits := withoutSeparators(value)
	if len(digits) < least || len(digits) > maxCardNumber {
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

// withoutSeparators is a number without the spaces, dashes and points between its groups.
func withoutSeparators(value string) []rune {
	return []rune(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.In(c, unicode.Pd, unicode.Cf) || c == '.' {
			return -1
		}
		return c
	}, value))
}

// validIBAN checks form and check digits by ISO 13616 and ISO 7064 MOD 97-10. Genuine check digits run from
// 02 to 98.
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

// maskPAN shows the first six and the last four characters of a card number (PCI DSS 3.4.1). Of a number too
// short to hide at least three in between, only the last four are shown, and of one up to four nothing.
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
