package mastercard

import (
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
)

// schemes maps the values of schemeName, in lower case, that the page "Get List of Accounts"
// documents.
var schemes = map[string]canonical.Scheme{
	"iban":                  canonical.SchemeIBAN,
	"bban":                  canonical.SchemeBBAN,
	"pan":                   canonical.SchemePAN,
	"sortcodeaccountnumber": canonical.SchemeSortCode,
}

// schemeOf returns the scheme of a name. It ignores case, separators and the prefix of a standard,
// because OBC passes on the names of each standard (UK.OBIE.IBAN, maskedPan, CPAN). Every name of a
// card number is SchemePAN. An unknown name is SchemeProvider.
func schemeOf(name string) canonical.Scheme {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	for i := range words {
		if scheme, ok := schemes[strings.Join(words[i:], "")]; ok {
			return scheme
		}
	}
	cased := adapter.SplitWords(name) // a name in mixed case is also split at its capitals
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

// indicators maps the values of creditDebitIndicator, in lower case: Credit in the documentation,
// CREDIT in the sandbox, CRDT in ISO 20022.
var indicators = map[string]canonical.Indicator{
	"credit": canonical.Credit,
	"crdt":   canonical.Credit,
	"debit":  canonical.Debit,
	"dbit":   canonical.Debit,
}

// balanceWords maps values of balanceType, in lower case, to the ISO 20022 code that they mean. OBC
// passes on the words of each standard. Words that mean none of the ten codes (nonInvoiced,
// ClosingCleared, InterimCleared, OpeningCleared, VALU, OTHR) are not listed.
var balanceWords = map[string]canonical.BalanceType{
	// Berlin Group NextGenPSD2 and UK OBIE (CMA9), which differ only in case.
	"closingbooked":    canonical.ClosingBooked,
	"openingbooked":    canonical.OpeningBooked,
	"interimbooked":    canonical.InterimBooked,
	"interimavailable": canonical.InterimAvailable,
	"forwardavailable": canonical.ForwardAvailable,
	"expected":         canonical.ExpectedBalance,
	// UK OBIE (CMA9) only.
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
