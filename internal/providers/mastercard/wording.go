package mastercard

import (
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/upstream"
)

// schemes are the names of numbering schemes, in lower case, that the page "Get List of Accounts" lists for
// schemeName.
var schemes = map[string]canonical.Scheme{
	"iban":                  canonical.SchemeIBAN,
	"bban":                  canonical.SchemeBBAN,
	"pan":                   canonical.SchemePAN,
	"sortcodeaccountnumber": canonical.SchemeSortCode,
}

// schemeOf finds the scheme of a name, without regard to case, separators and the prefix of a standard: OBC passes on
// each standard's own names (UK.OBIE.IBAN, maskedPan, CPAN). Every name of a card's number is PAN. A name that is
// unknown is the provider's own scheme.
func schemeOf(name string) canonical.Scheme {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	for i := range words {
		if scheme, ok := schemes[strings.Join(words[i:], "")]; ok {
			return scheme
		}
	}
	cased := upstream.SplitWords(name) // a name in capitals and small letters has words of its own
	for _, word := range append(cased, words...) {
		if strings.HasPrefix(word, "pan") || strings.HasSuffix(word, "pan") || canonical.IsCardWord(word) {
			return canonical.SchemePAN
		}
	}
	joined := strings.Join(words, "")
	for _, part := range []string{"primaryaccountnumber", "maskedpan", "pannumber", "panref", "pantoken"} {
		if strings.Contains(joined, part) {
			return canonical.SchemePAN
		}
	}
	return canonical.SchemeProvider
}

// indicators are the words of creditDebitIndicator, in lower case: the page writes Credit, the sandbox CREDIT,
// ISO 20022 CRDT.
var indicators = map[string]canonical.Indicator{
	"credit": canonical.Credit,
	"crdt":   canonical.Credit,
	"debit":  canonical.Debit,
	"dbit":   canonical.Debit,
}

// balanceWords are the words of balanceType, in lower case, that are no ISO 20022 code but mean one. OBC passes
// on each standard's own. Words that mean none of the ten codes (nonInvoiced, ClosingCleared, InterimCleared,
// OpeningCleared, VALU, OTHR) have no row.
var balanceWords = map[string]canonical.BalanceType{
	// Berlin Group NextGenPSD2 and UK OBIE (CMA9), whose words differ in case alone.
	"closingbooked":    canonical.ClosingBooked,
	"openingbooked":    canonical.OpeningBooked,
	"interimbooked":    canonical.InterimBooked,
	"interimavailable": canonical.InterimAvailable,
	"forwardavailable": canonical.ForwardAvailable,
	"expected":         canonical.ExpectedBalance,
	// UK OBIE (CMA9) alone.
	"previouslyclosedbooked": canonical.PreviouslyClosedBooked,
	"closingavailable":       canonical.ClosingAvailable,
	"openingavailable":       canonical.OpeningAvailable,
	"information":            canonical.Information,
	// Polish API.
	"bookingbalance":   canonical.InterimBooked,
	"availablebalance": canonical.InterimAvailable,
	// OBC's sandbox.
	"current":   canonical.InterimBooked,
	"available": canonical.InterimAvailable,
}
