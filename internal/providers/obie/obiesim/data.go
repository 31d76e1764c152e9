package obiesim

import (
	"fmt"
	"net/http"
	"time"
)

// Consents with accounts. Every consent without a constant here has the accounts of GoodConsent. All
// of them can also read the balances of the accounts of HostileConsent.
const (
	GoodConsent    = "aac-good"
	ManyConsent    = "aac-many"    // ManyCount accounts
	HostileConsent = "aac-hostile" // GoodConsent's accounts, and those of HostileAccounts
)

// Consents for which every call fails, named by status and cause.
const (
	Consent400Status      = "aac-400-status"      // InvalidConsentStatus: revoked
	Consent400NotFound    = "aac-400-notfound"    // Resource.NotFound
	Consent400Field       = "aac-400-field"       // Field.Invalid
	Consent400Address     = "aac-400-address"     // the user's IP address is required
	Consent401Bare        = "aac-401-bare"        // no body
	Consent401Expired     = "aac-401-expired"     // the text says that the consent has expired
	Consent403Bare        = "aac-403-bare"        // no body
	Consent403Reauth      = "aac-403-reauth"      // Reauthenticate
	Consent403Status      = "aac-403-status"      // InvalidConsentStatus
	Consent403Revoked     = "aac-403-revoked"     // only a text, {"Data": {code, message}}
	Consent429Throttled   = "aac-429-throttled"   // no body, Retry-After 7 s
	Consent429Unattended  = "aac-429-unattended"  // the text is about unattended access, no Retry-After
	Consent500            = "aac-500"             // {code, message}
	Consent503            = "aac-503"             // Retry-After two minutes
	Consent504            = "aac-504"             // no body
	Consent400ErrorJSON   = "aac-400-error-json"  // {"error-json": …}
	Consent401Certificate = "aac-401-certificate" // the text is about a certificate
)

// Accounts for tests.
const (
	GoodAccount = "22289" // of GoodConsent; its first balance is a debit
	ManyCount   = 60
)

// HostileAccounts are account ids that break paths which are built without escaping.
var HostileAccounts = []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1", "a\ufffd"}

var refusals = map[string]func(Bank) response{
	Consent400Status:   failed(http.StatusBadRequest, "UK.OBIE.Resource.InvalidConsentStatus", "The consent has the status Revoked."),
	Consent400NotFound: failed(http.StatusBadRequest, "UK.OBIE.Resource.NotFound", "The account does not exist."),
	Consent400Field:    failed(http.StatusBadRequest, "UK.OBIE.Field.Invalid", "A field is invalid."),
	Consent400Address:  failed(http.StatusBadRequest, "UK.OBIE.Header.Missing", "Header x-fapi-customer-ip-address is required."),
	Consent400ErrorJSON: fixed(http.StatusBadRequest,
		`{"error-json":{"Code":"400 BadRequest","Errors":[{"ErrorCode":"UK.OBIE.Resource.NotFound","Message":"No such account"}]}}`),
	Consent401Bare:        fixed(http.StatusUnauthorized, ""),
	Consent401Expired:     failed(http.StatusUnauthorized, "UK.OBIE.Field.Invalid", "The consent has expired."),
	Consent401Certificate: failed(http.StatusUnauthorized, "UK.OBIE.Field.Invalid", "The certificate has expired."),
	Consent403Bare:        fixed(http.StatusForbidden, ""),
	Consent403Reauth:      failed(http.StatusForbidden, "UK.OBIE.Reauthenticate", "The user must authenticate."),
	Consent403Status:      failed(http.StatusForbidden, "UK.OBIE.Resource.InvalidConsentStatus", "The consent is not valid."),
	Consent403Revoked:     fixed(http.StatusForbidden, `{"Data":{"code":"Forbidden","message":"Access was Revoked by the customer"}}`),
	Consent429Throttled:   waits(fixed(http.StatusTooManyRequests, ""), 7*time.Second),
	Consent429Unattended:  failed(http.StatusTooManyRequests, "UK.OBIE.Rules.AccessLimit", "The limit of unattended access is used up."),
	Consent500:            fixed(http.StatusInternalServerError, `{"code":"500","message":"Internal server error"}`),
	Consent503:            waits(fixed(http.StatusServiceUnavailable, ""), 2*time.Minute),
	Consent504:            fixed(http.StatusGatewayTimeout, ""),
}

func failed(status int, code, message string) func(Bank) response {
	return func(b Bank) response { return failure(b, status, code, message) }
}

func fixed(status int, body string) func(Bank) response {
	a := response{status: status, body: body}
	if body != "" {
		a.contentType = "application/json"
	}
	return func(Bank) response { return a }
}

func waits(refuse func(Bank) response, wait time.Duration) func(Bank) response {
	return func(b Bank) response {
		a := refuse(b)
		a.retryAfter = wait
		return a
	}
}

// account is an account with its balances, in the words of version 3.
type account struct {
	id, currency, kind, status string
	nickname, description      string
	holder                     string
	numbers                    []number
	balances                   []balance
}

type number struct{ scheme, value string }

type balance struct {
	amount, currency, kind, indicator, at string
}

// codesOfV4 are the codes of version 4 for the words of version 3.
var codesOfV4 = map[string]string{
	"CurrentAccount": "CACC", "Savings": "SVGS", "CreditCard": "CARD", "EMoney": "OTHR",
	"InterimBooked": "ITBD", "InterimAvailable": "ITAV", "ClosingBooked": "CLBD", "ForwardAvailable": "FWAV", "InterimCleared": "ITBD",
}

// wire returns the JSON of the account.
func (a account) wire(version string) map[string]any {
	w := map[string]any{"AccountId": a.id, "Status": a.status, "Currency": a.currency}
	if version == V4 {
		w["AccountCategory"], w["AccountTypeCode"] = "Personal", codesOfV4[a.kind]
	} else {
		w["AccountType"], w["AccountSubType"] = "Personal", a.kind
	}
	for name, value := range map[string]string{"Nickname": a.nickname, "Description": a.description} {
		if value != "" {
			w[name] = value
		}
	}
	if len(a.numbers) > 0 {
		numbers := make([]map[string]string, len(a.numbers))
		for i, n := range a.numbers {
			numbers[i] = map[string]string{"SchemeName": n.scheme, "Identification": n.value, "Name": a.holder}
		}
		w["Account"] = numbers
	}
	return w
}

// wireBalances returns the JSON of the account's balances.
func (a account) wireBalances(bank Bank) []any {
	all := make([]any, len(a.balances))
	for i, b := range a.balances {
		amount, kind := map[string]string{"Amount": b.amount, "Currency": b.currency}, b.kind
		if bank.Version == V4 {
			kind = codesOfV4[b.kind]
		}
		w := map[string]any{
			"AccountId": a.id, "Amount": amount, "CreditDebitIndicator": b.indicator, "Type": kind, "DateTime": b.at,
			"CreditLine": []any{map[string]any{
				"Included": false, "Type": "Pre-Agreed", "Amount": map[string]string{"Amount": "500.00", "Currency": b.currency},
			}},
		}
		if bank.Odd {
			amount["SubType"] = "BaseCurrency"
			w["LocalAmount"] = map[string]string{"Amount": "99.99", "Currency": "EUR", "SubType": "LocalCurrency"}
		}
		all[i] = w
	}
	return all
}

const (
	today    = "2026-11-20T08:00:01+00:00"
	inSummer = "2026-07-20T09:30:00+01:00"
	inZulu   = "2026-11-20T08:00:01Z"
)

var good = []account{
	{
		id: GoodAccount, currency: "GBP", kind: "CurrentAccount", status: "Enabled", nickname: "Bills", description: "Everyday account",
		holder: "Ms Jordan Sample", numbers: []number{{"UK.OBIE.SortCodeAccountNumber", "80200110203345"}, {"UK.OBIE.IBAN", "GB29NWBK60161331926819"}},
		balances: []balance{{"12.50", "GBP", "InterimBooked", "Debit", today}, {"57.36", "GBP", "InterimAvailable", "Credit", inZulu}},
	},
	{
		id: "31820", currency: "GBP", kind: "Savings", status: "Enabled", holder: "Ms Jordan Sample",
		numbers:  []number{{"UK.OBIE.SortCodeAccountNumber", "80200110203348"}},
		balances: []balance{{"1520.00", "GBP", "ClosingBooked", "Credit", today}, {"0.00", "GBP", "ForwardAvailable", "Debit", today}},
	},
	{
		id: "41007", currency: "GBP", kind: "CreditCard", status: "Disabled", holder: "Ms Jordan Sample",
		numbers:  []number{{"UK.OBIE.PAN", "5413330000000019"}},
		balances: []balance{{"310.07", "GBP", "InterimCleared", "Debit", inZulu}},
	},
}

// odd are the accounts of a bank with Odd.
var odd = []account{
	{
		id: "odd-1", currency: "GBP", kind: "CurrentAccount", status: "ENABLED", holder: "MR ROBIN EXAMPLE",
		numbers:  []number{{"UK.OBIE.SORTCODEACCOUNTNUMBER", "80200110203399"}, {"IBAN", "gb29 NWBK 6016 1331 9268 19"}},
		balances: []balance{{"7.00", "GBP", "INTERIMBOOKED", "CREDIT", inSummer}, {"3.10", "GBP", "INTERIMAVAILABLE", "DEBIT", inSummer}},
	},
	{
		id: "odd-2", currency: "GBP", kind: "EMoney", status: "Pending",
		balances: []balance{{"0.00", "GBP", "InterimBooked", "Credit", inZulu}, {"5.00", "GBP", "InterimBooked", "Credit", inSummer}},
	},
	{
		id: "odd-3", currency: "GBP", kind: "CurrentAccount", status: "Enabled", holder: "Robin Example",
		numbers:  []number{{"UK.OBIE.Paym", "+447700900123"}},
		balances: []balance{{"1.00", "GBP", "InterimBooked", "Credit", "2026-11-20T08:00:01"}},
	},
}

var many, hostile = manyAccounts(), hostileAccounts()

// accountsOf returns the account list of a consent.
func accountsOf(bank Bank, consent string) []account {
	list := good
	if bank.Odd {
		list = odd
	}
	switch consent {
	case ManyConsent:
		return many
	case HostileConsent:
		return append(list[:len(list):len(list)], hostile...)
	}
	return list
}

func manyAccounts() []account {
	list := make([]account, ManyCount)
	for i := range list {
		list[i] = plainAccount(fmt.Sprintf("700%05d", i+1))
	}
	return list
}

func hostileAccounts() []account {
	list := make([]account, len(HostileAccounts))
	for i, id := range HostileAccounts {
		list[i] = plainAccount(id)
	}
	return list
}

func plainAccount(id string) account {
	return account{
		id: id, currency: "GBP", kind: "CurrentAccount", status: "Enabled", description: "Account " + id,
		balances: []balance{{"10.00", "GBP", "InterimAvailable", "Credit", inZulu}, {"2.50", "GBP", "InterimBooked", "Debit", inZulu}},
	}
}
