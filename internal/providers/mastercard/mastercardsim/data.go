package mastercardsim

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The ASPSPs of the simulator. They use the words of different standards.
const (
	WoodBank  = "4f1e2d3c-0000-4000-8000-000000000001" // OBC's own sandbox, as recorded, and UK OBIE
	StoneBank = "4f1e2d3c-0000-4000-8000-000000000002" // Berlin Group NextGenPSD2
	RiverBank = "4f1e2d3c-0000-4000-8000-000000000003" // Polish API
)

// Names are the ASPSPs' names, by id.
var Names = map[string]string{WoodBank: "Wood Bank", StoneBank: "Stone Bank", RiverBank: "River Bank"}

// Consents with accounts, valid at every ASPSP. So is any consent with the prefix FreshConsent: it
// has the accounts of Consent and is counted separately.
const (
	Consent        = "GFiTpF3:EBy5xGqQMatk" // the two or three accounts of an ASPSP
	ConsentMany    = "GFiTpF3:many"         // ManyAccounts accounts
	ConsentHostile = "GFiTpF3:hostile"      // the accounts of Consent, and HostileAccounts
	FreshConsent   = "sandbox:"
)

// ManyAccounts is the number of accounts of ConsentMany.
const ManyAccounts = 60

// Account is the account of Wood Bank whose balances were recorded in OBC's sandbox. One of them is
// a debit.
const Account = "aa:q648383844dhhfHhTV"

// HostileAccounts are ids that break paths and encodings which are built without escaping.
var HostileAccounts = []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1", `"quo\ted"`, "<a&b>"}

// The JSON form of responses.
type (
	echo struct {
		ID string `json:"xRequestId"`
	}
	accountsResponse struct {
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
	balancesResponse struct {
		Original echo            `json:"originalRequestInfo"`
		Account  accountBalances `json:"account"`
	}
	accountBalances struct {
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
		Amount   json.RawMessage `json:"amount"` // with its digits
	}
)

func newBalance(amount, currency, kind, indicator, at string) balance {
	return balance{money{currency, json.RawMessage(amount)}, kind, indicator, at}
}

var owner = []relation{{"Owner"}}

// bank contains the accounts of an ASPSP.
type bank []account

var banks = map[string]bank{
	WoodBank: {
		{ // recorded in OBC's sandbox
			ResourceID: "account1", Currency: "USD", HolderType: "Personal", HolderName: "John Doe", AccountType: "ASTC01",
			NameClient: "Holiday savings", Name: "My savings account", AccountNumber: "70000170000005", SchemeName: "BBAN",
			Relations: owner, balances: []balance{
				newBalance("2500.5", "USD", "Current", "CREDIT", "2019-03-21T10:33:13.001Z"),
				newBalance("12.30", "USD", "ClosingBooked", "DEBIT", "2019-03-20T23:59:59.000Z"),
			},
		},
		{ // the first two balances recorded in OBC's sandbox
			ResourceID: Account, Currency: "GBP", HolderType: "Personal", HolderName: "Jane Roe", AccountType: "CACC",
			Name: "SandboxASPSP1 Account 1", AccountNumber: "20000055779911", SchemeName: "SortCodeAccountNumber",
			Relations: owner, balances: []balance{
				newBalance("102.56", "GBP", "Available", "CREDIT", "2019-03-21T10:33:13.001Z"),
				newBalance("102.56", "GBP", "Available", "CREDIT", "2019-03-22T10:33:13.001Z"),
				newBalance("47.1", "GBP", "InterimBooked", "DEBIT", "2019-03-22T10:33:13.001Z"),
				newBalance("0", "GBP", "InterimCleared", "CREDIT", ""),
			},
		},
	},
	StoneBank: {
		{
			ResourceID: "3dc3d5b3-7023-4848-9853-f5400a64e80f", Currency: "EUR", HolderType: "Personal", HolderName: "Erika Muster",
			AccountType: "CACC", Name: "Girokonto", AccountNumber: "DE89 3704 0044 0532 0130 00", SchemeName: "IBAN",
			Relations: owner, balances: []balance{
				newBalance("500.00", "EUR", "closingBooked", "Credit", "2026-11-19T23:59:59+01:00"),
				newBalance("18.70", "EUR", "interimAvailable", "Debit", "2026-11-20T09:15:00+01:00"),
				newBalance("900.00", "EUR", "expected", "Credit", ""),
				newBalance("3.20", "EUR", "nonInvoiced", "Debit", ""),
			},
		},
		{
			ResourceID: "card:7001", Currency: "EUR", HolderType: "Business", HolderName: "Muster GmbH", AccountType: "CARD",
			NameClient: "Firmenkarte", AccountNumber: "5555555555554444", SchemeName: "PAN",
			Relations: []relation{{"Owner"}, {"Authorised user"}}, balances: []balance{
				newBalance("0.00", "EUR", "openingBooked", "Credit", "2026-11-20T00:00:00+01:00"),
				newBalance("1204.9", "EUR", "interimBooked", "Debit", "2026-11-20T09:15:00+01:00"),
			},
		},
	},
	RiverBank: {
		{
			ResourceID: "PL61109010140000071219812874", Currency: "PLN", HolderType: "Personal", HolderName: "Jan Kowalski",
			AccountType: "CACC", Name: "Konto osobiste", AccountNumber: "PL61109010140000071219812874", SchemeName: "IBAN",
			Relations: owner, balances: []balance{
				newBalance("4.200", "PLN", "availableBalance", "Credit", "2026-11-20T10:00:00.123+0100"),
				newBalance("95.80", "PLN", "bookingBalance", "Debit", "2026-11-20T10:00:00.123+0100"),
			},
		},
		{
			ResourceID: "rb+savings/2", Currency: "JPY", AccountType: "SVGS", Name: "Konto walutowe", AccountNumber: "77-1902",
			balances: []balance{
				newBalance("120000.00", "JPY", "availableBalance", "Credit", ""),
				newBalance("1", "JPY", "bookingBalance", "Debit", ""),
			},
		},
	},
}

// accounts returns the accounts that a consent covers, and whether the consent exists.
func (b bank) accounts(consent string) ([]account, bool) {
	switch {
	case consent == Consent, strings.HasPrefix(consent, FreshConsent):
		return b, true
	case consent == ConsentHostile:
		covered := append([]account{}, b...)
		for _, id := range HostileAccounts {
			covered = append(covered, plainAccount(id))
		}
		return covered, true
	case consent == ConsentMany:
		covered := make([]account, ManyAccounts)
		for i := range covered {
			covered[i] = plainAccount(fmt.Sprintf("aa:many:%02d", i+1))
		}
		return covered, true
	}
	return nil, false
}

// plainAccount returns an ordinary account with the id.
func plainAccount(id string) account {
	return account{
		ResourceID: id, Currency: "GBP", HolderType: "Personal", HolderName: "Jane Roe", AccountType: "SVGS",
		Name: "Savings", AccountNumber: "20000055779912", SchemeName: "SortCodeAccountNumber", Relations: owner,
		balances: []balance{
			newBalance("10.00", "GBP", "InterimAvailable", "Credit", "2026-11-20T09:00:00Z"),
			newBalance("5.55", "GBP", "InterimBooked", "Debit", "2026-11-20T09:00:00Z"),
		},
	}
}
