package mastercardsim

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The ASPSPs that the simulator knows. They differ in the words in which their standards speak.
const (
	WoodBank  = "4f1e2d3c-0000-4000-8000-000000000001" // OBC's own sandbox, as recorded, and UK OBIE
	StoneBank = "4f1e2d3c-0000-4000-8000-000000000002" // Berlin Group NextGenPSD2
	RiverBank = "4f1e2d3c-0000-4000-8000-000000000003" // Polish API
)

// Names are the ASPSPs' names, by id.
var Names = map[string]string{WoodBank: "Wood Bank", StoneBank: "Stone Bank", RiverBank: "River Bank"}

// Consents that every ASPSP answers. So is any other that begins with FreshConsent: it covers what Consent
// covers, and has a count of its own.
const (
	Consent        = "GFiTpF3:EBy5xGqQMatk" // the two or three accounts of an ASPSP
	ConsentMany    = "GFiTpF3:many"         // ManyAccounts accounts
	ConsentHostile = "GFiTpF3:hostile"      // what Consent covers, and HostileAccounts
	FreshConsent   = "sandbox:"
)

// ManyAccounts is how many accounts ConsentMany covers.
const ManyAccounts = 60

// Account is the account of Wood Bank whose balances were recorded in OBC's sandbox. One of them is a debit.
const Account = "aa:q648383844dhhfHhTV"

// HostileAccounts are ids that break paths and encodings where somebody handles them carelessly.
var HostileAccounts = []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1", `"quo\ted"`, "<a&b>"}

// The wire, as OBC writes it.
type (
	echo struct {
		ID string `json:"xRequestId"`
	}
	accountsAnswer struct {
		Original echo      `json:"originalRequestInfo"`
		Accounts []account `json:"accounts"`
	}
	account struct {
		ResourceID    string     `json:"resourceId"`
		Currency      string     `json:"currency,omitempty"`
		HolderType    string     `json:"accountHolderType,omitempty"`
		HolderName    string     `json:"holderName,omitempty"`
		AccountType   string     `json:"accountType,omitempty"`
		NameClient    string     `json:"nameClient,omitempty"`
		Name          string     `json:"name,omitempty"`
		AccountNumber string     `json:"accountNumber,omitempty"`
		SchemeName    string     `json:"schemeName,omitempty"`
		Relations     []relation `json:"accountPsuRelations,omitempty"`
		balances      []balance
	}
	relation struct {
		Type string `json:"typeOfRelation"`
	}
	balancesAnswer struct {
		Original echo     `json:"originalRequestInfo"`
		Account  holdings `json:"account"`
	}
	holdings struct {
		ResourceID string    `json:"resourceId"`
		Name       string    `json:"name,omitempty"`
		Balances   []balance `json:"balances"`
	}
	balance struct {
		Amount    money  `json:"balanceAmount"`
		Type      string `json:"balanceType,omitempty"`
		Indicator string `json:"creditDebitIndicator"`
		DateTime  string `json:"dateTime,omitempty"`
	}
	money struct {
		Currency string          `json:"currency"`
		Amount   json.RawMessage `json:"amount"` // digit by digit as the bank writes it
	}
)

func held(amount, currency, kind, indicator, at string) balance {
	return balance{money{currency, json.RawMessage(amount)}, kind, indicator, at}
}

var owner = []relation{{"Owner"}}

// bank is an ASPSP: what its customers have.
type bank []account

var banks = map[string]bank{
	WoodBank: {
		{ // recorded in OBC's sandbox
			ResourceID: "account1", Currency: "USD", HolderType: "Personal", HolderName: "John Doe", AccountType: "ASTC01",
			NameClient: "Holiday savings", Name: "My savings account", AccountNumber: "70000170000005", SchemeName: "BBAN",
			Relations: owner, balances: []balance{
				held("2500.5", "USD", "Current", "CREDIT", "2019-03-21T10:33:13.001Z"),
				held("12.30", "USD", "ClosingBooked", "DEBIT", "2019-03-20T23:59:59.000Z"),
			},
		},
		{ // the first two balances recorded in OBC's sandbox
			ResourceID: Account, Currency: "GBP", HolderType: "Personal", HolderName: "Jane Roe", AccountType: "CACC",
			Name: "SandboxASPSP1 Account 1", AccountNumber: "20000055779911", SchemeName: "SortCodeAccountNumber",
			Relations: owner, balances: []balance{
				held("102.56", "GBP", "Available", "CREDIT", "2019-03-21T10:33:13.001Z"),
				held("102.56", "GBP", "Available", "CREDIT", "2019-03-22T10:33:13.001Z"),
				held("47.1", "GBP", "InterimBooked", "DEBIT", "2019-03-22T10:33:13.001Z"),
				held("0", "GBP", "InterimCleared", "CREDIT", ""),
			},
		},
	},
	StoneBank: {
		{
			ResourceID: "3dc3d5b3-7023-4848-9853-f5400a64e80f", Currency: "EUR", HolderType: "Personal", HolderName: "Erika Muster",
			AccountType: "CACC", Name: "Girokonto", AccountNumber: "DE89 3704 0044 0532 0130 00", SchemeName: "IBAN",
			Relations: owner, balances: []balance{
				held("500.00", "EUR", "closingBooked", "Credit", "2026-11-19T23:59:59+01:00"),
				held("18.70", "EUR", "interimAvailable", "Debit", "2026-11-20T09:15:00+01:00"),
				held("900.00", "EUR", "expected", "Credit", ""),
				held("3.20", "EUR", "nonInvoiced", "Debit", ""),
			},
		},
		{
			ResourceID: "card:7001", Currency: "EUR", HolderType: "Business", HolderName: "Muster GmbH", AccountType: "CARD",
			NameClient: "Firmenkarte", AccountNumber: "5555555555554444", SchemeName: "PAN",
			Relations: []relation{{"Owner"}, {"Authorised user"}}, balances: []balance{
				held("0.00", "EUR", "openingBooked", "Credit", "2026-11-20T00:00:00+01:00"),
				held("1204.9", "EUR", "interimBooked", "Debit", "2026-11-20T09:15:00+01:00"),
			},
		},
	},
	RiverBank: {
		{
			ResourceID: "PL61109010140000071219812874", Currency: "PLN", HolderType: "Personal", HolderName: "Jan Kowalski",
			AccountType: "CACC", Name: "Konto osobiste", AccountNumber: "PL61109010140000071219812874", SchemeName: "IBAN",
			Relations: owner, balances: []balance{
				held("4.200", "PLN", "availableBalance", "Credit", "2026-11-20T10:00:00.123+0100"),
				held("95.80", "PLN", "bookingBalance", "Debit", "2026-11-20T10:00:00.123+0100"),
			},
		},
		{
			ResourceID: "rb+savings/2", Currency: "JPY", AccountType: "SVGS", Name: "Konto walutowe", AccountNumber: "77-1902",
			balances: []balance{
				held("120000.00", "JPY", "availableBalance", "Credit", ""),
				held("1", "JPY", "bookingBalance", "Debit", ""),
			},
		},
	},
}

// accounts are those that a consent covers; false for a consent that nobody gave.
func (b bank) accounts(consent string) ([]account, bool) {
	switch {
	case consent == Consent, strings.HasPrefix(consent, FreshConsent):
		return b, true
	case consent == ConsentHostile:
		covered := append([]account{}, b...)
		for _, id := range HostileAccounts {
			covered = append(covered, plain(id))
		}
		return covered, true
	case consent == ConsentMany:
		covered := make([]account, ManyAccounts)
		for i := range covered {
			covered[i] = plain(fmt.Sprintf("aa:many:%02d", i+1))
		}
		return covered, true
	}
	return nil, false
}

// plain is an account with nothing remarkable but its id.
func plain(id string) account {
	return account{
		ResourceID: id, Currency: "GBP", HolderType: "Personal", HolderName: "Jane Roe", AccountType: "SVGS",
		Name: "Savings", AccountNumber: "20000055779912", SchemeName: "SortCodeAccountNumber", Relations: owner,
		balances: []balance{
			held("10.00", "GBP", "InterimAvailable", "Credit", "2026-11-20T09:00:00Z"),
			held("5.55", "GBP", "InterimBooked", "Debit", "2026-11-20T09:00:00Z"),
		},
	}
}
