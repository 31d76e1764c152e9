package mypossim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Consents with accounts. Every UUID without a constant here is a separate consent with the
// accounts of GoodConsent. All of them can also read the balances of the accounts of
// HostileConsent.
const (
	GoodConsent    = "3c7816ee-3d51-4bf5-8ced-ece2af35d431" // the example of the documentation, and two more accounts
	ManyConsent    = "00000000-0000-4000-8000-000000000060" // ManyCount accounts
	HostileConsent = "00000000-0000-4000-8000-0000000000aa" // GoodConsent's accounts, and those of HostileAccounts
)

// Consents for which every call fails, named by status and cause.
const (
	Consent401ConsentExpired = "00000000-0000-4000-8000-000000401001"
	Consent401ConsentInvalid = "00000000-0000-4000-8000-000000401002"
	Consent401Bare           = "00000000-0000-4000-8000-000000401003" // an HTML page
	Consent401Certificate    = "00000000-0000-4000-8000-000000401004"
	Consent403ConsentUnknown = "00000000-0000-4000-8000-000000403001"
	Consent404Unknown        = "00000000-0000-4000-8000-000000404001" // RESOURCE_UNKNOWN
	Consent404Bare           = "00000000-0000-4000-8000-000000404002" // no body
	Consent429Exceeded       = "00000000-0000-4000-8000-000000429001" // ACCESS_EXCEEDED, Retry-After an hour
	Consent429Quota          = "00000000-0000-4000-8000-000000429002" // the wording of Bulgarian banks, no Retry-After
	Consent429Throttled      = "00000000-0000-4000-8000-000000429003" // too many requests per second, Retry-After 7 s
	Consent400NeedsAddress   = "00000000-0000-4000-8000-000000400001" // PSU-IP-Address is required
	Consent400Format         = "00000000-0000-4000-8000-000000400002" // FORMAT_ERROR
	Consent500               = "00000000-0000-4000-8000-000000500001"
	Consent503               = "00000000-0000-4000-8000-000000503001" // Retry-After two minutes, as a date
	Consent504               = "00000000-0000-4000-8000-000000504001" // an HTML page
	Consent400Several        = "00000000-0000-4000-8000-000000400003" // FORMAT_ERROR, SERVICE_BLOCKED, CONSENT_EXPIRED
)

// Accounts for tests.
const (
	GoodAccount = "50044620073" // of GoodConsent; its first balance is the documentation's 4.200 PLN, its second a debit
	ManyCount   = 60
)

// HostileAccounts are account numbers that break paths which are built without escaping.
var HostileAccounts = []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1", "a\ufffd"}

const html = "text/html; charset=utf-8"

var refusals = map[string]response{
	Consent401ConsentExpired: message(http.StatusUnauthorized, "CONSENT_EXPIRED", "The consent was created by this TPP but has expired and needs to be renewed."),
	Consent401ConsentInvalid: message(http.StatusUnauthorized, "CONSENT_INVALID", "The consent is not valid for the addressed service."),
	Consent401Bare:           {status: http.StatusUnauthorized, contentType: html, body: "<html><body><h1>401 Authorization Required</h1></body></html>"},
	Consent401Certificate:    message(http.StatusUnauthorized, "CERTIFICATE_EXPIRED", "Signature certificate is expired."),
	Consent403ConsentUnknown: message(http.StatusForbidden, "CONSENT_UNKNOWN", "The Consent-ID cannot be matched by the ASPSP."),
	Consent404Unknown:        message(http.StatusNotFound, "RESOURCE_UNKNOWN", "The addressed resource is unknown relative to the TPP."),
	Consent404Bare:           {status: http.StatusNotFound},
	Consent429Exceeded:       withRetryAfter(message(http.StatusTooManyRequests, "ACCESS_EXCEEDED", "The access on the account has been exceeding the consented multiplicity per day."), time.Hour),
	Consent429Quota: {
		status: http.StatusTooManyRequests, contentType: "application/json",
		body: `{"code":429,"description":"Maximum access quota is reached!"}`,
	},
	Consent429Throttled: withRetryAfter(response{
		status: http.StatusTooManyRequests, contentType: "application/json",
		body: `{"code":429,"description":"Too many requests per second"}`,
	}, 7*time.Second),
	Consent400NeedsAddress: message(http.StatusBadRequest, "FORMAT_ERROR", "Header PSU-IP-Address is required."),
	Consent400Format:       message(http.StatusBadRequest, "FORMAT_ERROR", "Format of certain request fields are not matching the XS2A requirements."),
	Consent500:             message(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "Internal server error."),
	Consent503: {
		status: http.StatusServiceUnavailable, contentType: "application/problem+json", retryAfter: 2 * time.Minute, asDate: true,
		body: `{"type":"about:blank","title":"Service Unavailable","code":"SERVICE_UNAVAILABLE","status":503}`,
	},
	Consent504: {status: http.StatusGatewayTimeout, contentType: html, body: "<html><body><h1>504 Gateway Time-out</h1></body></html>"},
	Consent400Several: messages(http.StatusBadRequest,
		[2]string{"FORMAT_ERROR", "Some fields are wrong."},
		[2]string{"SERVICE_BLOCKED", "The service is blocked."},
		[2]string{"CONSENT_EXPIRED", "The consent has expired."}),
}

func withRetryAfter(a response, wait time.Duration) response {
	a.retryAfter = wait
	return a
}

// account is the JSON form of an account, with its balances.
type account struct {
	AccountNumber   string `json:"accountNumber"`
	Status          string `json:"status"`
	IBAN            string `json:"iban,omitempty"`
	Currency        string `json:"currency"`
	Name            string `json:"name"`
	CashAccountType string `json:"cashAccountType"`
	balances        []balance
}

// identifier returns the account member of a balances response.
func (a account) identifier() map[string]string {
	if a.IBAN == "" {
		return map[string]string{"accountNumber": a.AccountNumber}
	}
	return map[string]string{"accountNumber": a.AccountNumber, "iban": a.IBAN}
}

// balance is the JSON form of a balance. The amount keeps its digits.
type balance struct {
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	BalanceType string      `json:"balanceType"`
}

var good = []account{
	{
		AccountNumber: GoodAccount, Status: "enabled", IBAN: "BG57INTF40015004462007", Currency: "PLN", Name: "Main account",
		CashAccountType: "E-Money", balances: []balance{
			{"4.200", "PLN", "available"},
			{"-17.355", "PLN", "interimBooked"},
		},
	},
	{
		AccountNumber: "50044620081", Status: "enabled", IBAN: "BG80BNBG96611020345678", Currency: "EUR", Name: "Savings",
		CashAccountType: "E-Money", balances: []balance{
			{"1520.000", "EUR", "available"},
			{"-0.010", "EUR", "closingBooked"},
			{"99.990", "BGN", "expected"},
		},
	},
	{
		AccountNumber: "50044620099", Status: "blocked", Currency: "EUR", Name: "Card",
		CashAccountType: "E-Money", balances: []balance{
			{"0.000", "EUR", "available"},
			{"-1000000.500", "EUR", "nonInvoiced"},
		},
	},
}

var many, hostile = manyAccounts(), hostileAccounts()

// accountsOf returns the account list of a consent.
func accountsOf(consent string) []account {
	switch consent {
	case ManyConsent:
		return many
	case HostileConsent:
		return append(good[:len(good):len(good)], hostile...)
	}
	return good
}

func manyAccounts() []account {
	list := make([]account, ManyCount)
	for i := range list {
		list[i] = plainAccount(fmt.Sprintf("500500%05d", i+1))
	}
	return list
}

func hostileAccounts() []account {
	list := make([]account, len(HostileAccounts))
	for i, number := range HostileAccounts {
		list[i] = plainAccount(number)
	}
	return list
}

func plainAccount(number string) account {
	return account{
		AccountNumber: number, Status: "enabled", Currency: "EUR", Name: "Account " + number, CashAccountType: "E-Money",
		balances: []balance{{"10.000", "EUR", "available"}, {"-2.500", "EUR", "interimBooked"}},
	}
}
