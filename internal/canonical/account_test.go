package canonical_test

import (
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
)

// TestAccountTypes holds the list of Mastercard's page "Get List of Accounts".
func TestAccountTypes(t *testing.T) {
	codes := strings.Fields("CACC CASH CHAR CISH COMM CPAC LLSV LOAN MGLD MOMA NREX ODFT ONDP OTHR SACC SLRY SVGS TAXE TRAN TRAS CARD")
	for _, code := range codes {
		for _, word := range []string{code, strings.ToLower(code), " " + code + "\t"} {
			if got := canonical.ParseAccountType(word); string(got) != code {
				t.Errorf("%q is %s", word, got)
			}
		}
	}
	for _, word := range []string{"", " ", "ASTC01", "E-Money", "CAC", "CACCX", "C SH", "ASH ", "CACC CASH", "    "} {
		if got := canonical.ParseAccountType(word); got != canonical.AccountTypeOther {
			t.Errorf("%q is %s", word, got)
		}
	}
}

// TestBalanceTypes holds the ten codes of ISO 20022 ExternalBalanceType1Code, and a provider's
// table beside them.
func TestBalanceTypes(t *testing.T) {
	codes := map[canonical.BalanceType]string{
		canonical.ClosingAvailable: "CLAV", canonical.ClosingBooked: "CLBD", canonical.ForwardAvailable: "FWAV",
		canonical.Information: "INFO", canonical.InterimAvailable: "ITAV", canonical.InterimBooked: "ITBD",
		canonical.OpeningAvailable: "OPAV", canonical.OpeningBooked: "OPBD",
		canonical.PreviouslyClosedBooked: "PRCD", canonical.ExpectedBalance: "XPCD",
	}
	if len(codes) != 10 {
		t.Fatalf("there are %d codes", len(codes))
	}
	table := map[string]canonical.BalanceType{
		"available": canonical.InterimAvailable, "clbd": canonical.Information, "closing booked": canonical.ClosingBooked,
	}
	for code, word := range codes {
		if string(code) != word {
			t.Errorf("%s is written %s", word, code)
		}
		for _, spelt := range []string{word, strings.ToLower(word), "\n" + word + " "} {
			if got := canonical.ParseBalanceType(spelt, table); got != code {
				t.Errorf("%q is %s, want %s", spelt, got, code)
			}
		}
	}
	tests := []struct {
		word  string
		table map[string]canonical.BalanceType
		want  canonical.BalanceType
	}{
		{word: "available", table: table, want: canonical.InterimAvailable},
		{word: " Available ", table: table, want: canonical.InterimAvailable},
		{word: "Closing Booked", table: table, want: canonical.ClosingBooked},
		{word: "available", want: canonical.BalanceTypeOther},
		{word: "nonInvoiced", table: table, want: canonical.BalanceTypeOther},
		{word: "OTHR", table: table, want: canonical.BalanceTypeOther},
		{word: "VALU", table: table, want: canonical.BalanceTypeOther},
		{word: "", table: table, want: canonical.BalanceTypeOther},
		{word: "CLAV CLBD", table: table, want: canonical.BalanceTypeOther},
		{word: "V CL", table: table, want: canonical.BalanceTypeOther},
	}
	for _, tt := range tests {
		if got := canonical.ParseBalanceType(tt.word, tt.table); got != tt.want {
			t.Errorf("%q is %s, want %s", tt.word, got, tt.want)
		}
	}
}

func TestIsCardWord(t *testing.T) {
	for word, want := range map[string]bool{
		"CARD": true, "card": true, "CreditCard": true, "charge card": true, "PrePaidCard": true, "": false, "CACC": false, "E-Money": false,
		"Carte bancaire": true, "Kreditkarte": true, "KARTENNUMMER": true, "tarjeta": true, "Sparkonto": false,
	} {
		if canonical.IsCardWord(word) != want {
			t.Errorf("%q: %t", word, !want)
		}
	}
}
