package berlingroupsim

import (
	"fmt"
	"net/http"
	"net/url"
)

// Consents with accounts. Every other text that is not among the consents below is a separate
// consent with the accounts of GoodConsent. All of them can also read the balances of the accounts
// of HostileConsent.
const (
	GoodConsent    = "consent-good"    // three accounts
	ManyConsent    = "consent-many"    // ManyCount accounts
	HostileConsent = "consent-hostile" // GoodConsent's accounts, and those of HostileAccounts
	NoneConsent    = "consent-none"    // no account
)

// Consents for which every call fails, named by status and cause.
const (
	Consent400ConsentUnknown  = "consent-400-consent-unknown"
	Consent400NotSupported    = "consent-400-parameter-not-supported"
	Consent400NeedsAddress    = "consent-400-needs-address" // PSU-IP-Address is required
	Consent400Several         = "consent-400-several"       // FORMAT_ERROR, SERVICE_BLOCKED, CONSENT_EXPIRED
	Consent401ConsentExpired  = "consent-401-consent-expired"
	Consent401ConsentInvalid  = "consent-401-consent-invalid"
	Consent401TokenInvalid    = "consent-401-token-invalid"
	Consent401Certificate     = "consent-401-certificate-invalid"
	Consent401Bare            = "consent-401-bare"    // no body
	Consent401Gateway         = "consent-401-gateway" // httpCode, httpMessage, moreInformation
	Consent403ConsentUnknown  = "consent-403-consent-unknown"
	Consent403ConsentExpired  = "consent-403-consent-expired"
	Consent403ResourceUnknown = "consent-403-resource-unknown"
	Consent403ResourceExpired = "consent-403-resource-expired"
	Consent403ServiceBlocked  = "consent-403-service-blocked"
	Consent403MessagesAsText  = "consent-403-messages-as-text" // tppMessages is a text
	Consent404ResourceUnknown = "consent-404-resource-unknown"
	Consent404Bare            = "consent-404-bare"            // no body
	Consent429Exceeded        = "consent-429-access-exceeded" // no Retry-After, as in the standard
	Consent429Worded          = "consent-429-worded"          // the limit in words, without a code
	Consent429TooMany         = "consent-429-too-many-requests"
	Consent429Bare            = "consent-429-bare" // no body
	Consent500                = "consent-500-problem"
	Consent500Bare            = "consent-500-bare" // no body
	Consent503                = "consent-503-problem"
	Consent504Bare            = "consent-504-bare"    // no body
	Consent408Bare            = "consent-408-bare"    // no body
	Consent401ProblemExpired  = "consent-401-problem" // CONSENT_EXPIRED among additionalErrors
)

// Accounts for tests.
const (
	GoodAccount = "7f-19:a/2" // of GoodConsent; its first balance is a debit
	ManyCount   = 60
)

// HostileAccounts are account ids that break paths which are built without escaping.
var HostileAccounts = []string{"../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1", "a\ufffd"}

var exceeded = message(http.StatusTooManyRequests, "ACCESS_EXCEEDED", "The access on the account has been exceeding the consented multiplicity per day.")

var refusals = map[string]response{
	Consent400ConsentUnknown: message(http.StatusBadRequest, "CONSENT_UNKNOWN", "The Consent-ID cannot be matched by the ASPSP."),
	Consent400NotSupported:   message(http.StatusBadRequest, "PARAMETER_NOT_SUPPORTED", "The parameter is not supported by the API provider."),
	Consent400NeedsAddress:   message(http.StatusBadRequest, "FORMAT_ERROR", "Header PSU-IP-Address is required."),
	Consent400Several: {http.StatusBadRequest, "application/json", `{"tppMessages":[` + errorMessage("FORMAT_ERROR", "Some fields are wrong.") + "," +
		errorMessage("SERVICE_BLOCKED", "The service is blocked.") + "," + errorMessage("CONSENT_EXPIRED", "The consent has expired.") + `]}`},
	Consent401ConsentExpired: message(http.StatusUnauthorized, "CONSENT_EXPIRED", "The consent was created by this TPP but has expired and needs to be renewed."),
	Consent401ConsentInvalid: message(http.StatusUnauthorized, "CONSENT_INVALID", "The consent was revoked by the user."),
	Consent401TokenInvalid:   message(http.StatusUnauthorized, "TOKEN_INVALID", "The OAuth2 token is not valid for the addressed service."),
	Consent401Certificate:    message(http.StatusUnauthorized, "CERTIFICATE_INVALID", "The contents of the certificate are not matching."),
	Consent401Bare:           {status: http.StatusUnauthorized},
	Consent401Gateway: {
		http.StatusUnauthorized, "application/json",
		`{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Client id not registered."}`,
	},
	Consent401ProblemExpired: {
		http.StatusUnauthorized, "application/problem+json",
		`{"type":"https://bank.example/errors","title":"Unauthorized","code":"PSU_CREDENTIALS_INVALID","additionalErrors":[{"code":"CONSENT_EXPIRED","title":"expired"}]}`,
	},
	Consent403ConsentUnknown:  message(http.StatusForbidden, "CONSENT_UNKNOWN", "The Consent-ID cannot be matched by the ASPSP."),
	Consent403ConsentExpired:  message(http.StatusForbidden, "CONSENT_EXPIRED", "The consent has expired."),
	Consent403ResourceUnknown: message(http.StatusForbidden, "RESOURCE_UNKNOWN", "The addressed resource is unknown."),
	Consent403ResourceExpired: message(http.StatusForbidden, "RESOURCE_EXPIRED", "The addressed resource is no longer addressable."),
	Consent403ServiceBlocked:  message(http.StatusForbidden, "SERVICE_BLOCKED", "This service is not reachable for the addressed user."),
	Consent403MessagesAsText: {
		http.StatusForbidden, "application/json",
		`{"code":"CONSENT_UNKNOWN","category":"ERROR","tppMessages":"Consent is not known."}`,
	},
	Consent404ResourceUnknown: message(http.StatusNotFound, "RESOURCE_UNKNOWN", "The addressed resource is unknown relative to the TPP."),
	Consent404Bare:            {status: http.StatusNotFound},
	Consent408Bare:            {status: http.StatusRequestTimeout},
	Consent429Exceeded:        exceeded,
	Consent429Worded: {
		http.StatusTooManyRequests, "application/json",
		`{"status":"429","message":"The limit of 4 calls per consent per day is reached."}`,
	},
	Consent429TooMany: message(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many requests per second."),
	Consent429Bare:    {status: http.StatusTooManyRequests},
	Consent500: {
		http.StatusInternalServerError, "application/problem+json",
		`{"type":"about:blank","title":"Internal Server Error","code":"INTERNAL_SERVER_ERROR"}`,
	},
	Consent500Bare: {status: http.StatusInternalServerError},
	Consent503: {
		http.StatusServiceUnavailable, "application/problem+json",
		`{"type":"about:blank","title":"Service Unavailable","code":"SERVICE_UNAVAILABLE"}`,
	},
	Consent504Bare: {status: http.StatusGatewayTimeout},
}

// account is an account with its balances.
type account struct {
	id        string
	members   string // of the entry in the list, without the id, links and balances
	reference string // the members of account in a response with balances
	balances  string // a JSON list
	unlinked  bool   // the entry has a resourceId and no links; else, if the bank is odd, the id is in a link
	linked    bool   // the entry has the id in its links only
}

// entry returns the account as an entry of the list.
func (a account) entry(base string, withBalances bool) string {
	text := "{"
	if !a.linked {
		text += `"resourceId":` + quote(a.id) + ","
	}
	text += a.members
	if withBalances {
		text += `,"balances":` + a.balances
	}
	if !a.unlinked {
		text += `,"_links":{"balances":{"href":` + quote(base+"/accounts/"+url.PathEscape(a.id)+"/balances") + `}}`
	}
	return text + "}"
}

var goodAccounts = []account{
	{
		id:        GoodAccount,
		members:   `"iban":"DE02120300000000202051","currency":"EUR","cashAccountType":"CACC","status":"enabled","usage":"PRIV","name":"Haupt","displayName":"Household","ownerName":"Erika Beispiel"`,
		reference: `"iban":"DE02120300000000202051"`,
		balances: `[{"balanceType":"closingBooked","balanceAmount":{"currency":"EUR","amount":"-12.5"},"referenceDate":"2026-11-19","creditLimitIncluded":false},` +
			`{"balanceType":"interimAvailable","balanceAmount":{"currency":"EUR","amount":"187.50"},"lastChangeDateTime":"2026-11-20T08:00:01Z"}]`,
	},
	{
		id:        "3dc3d5b3-7023-4848-9853-f5400a64e80f",
		members:   `"iban":"DE02500105170137075030","currency":"XXX","cashAccountType":"CACC","product":"Multi currency","status":"enabled","usage":"ORGA"`,
		reference: `"iban":"DE02500105170137075030"`,
		balances: `[{"balanceType":"expected","balanceAmount":{"currency":"EUR","amount":"500.00"}},` +
			`{"balanceType":"expected","balanceAmount":{"currency":"USD","amount":"-6.07"}}]`,
	},
	{
		id:        "card-1",
		members:   `"maskedPan":"498765xxxxxx1234","currency":"EUR","cashAccountType":"CARD","status":"blocked"`,
		reference: `"maskedPan":"498765xxxxxx1234"`,
		balances:  `[{"balanceType":"nonInvoiced","balanceAmount":{"currency":"EUR","amount":"-320.10"}}]`,
	},
}

// oddAccounts are the accounts of a bank with unusual but legal responses.
var oddAccounts = []account{
	{
		id: GoodAccount, linked: true,
		members:   `"iban":"DE02120300000000202051","currency":"EUR","cashAccountType":"CurrentAccount","status":"ENABLED","usage":null,"name":null,"product":"Giro","bic":null,"details":null`,
		reference: `"iban":"DE02120300000000202051"`,
		balances: `[{"balanceType":"CLOSING_BOOKED","balanceAmount":{"currency":"EUR","amount":-12.50},"referenceDate":null},` +
			`{"balanceType":"INTERIM_AVAILABLE","balanceAmount":{"currency":"EUR","amount":187.5},"lastChangeDateTime":"2026-11-20 08:00:01"},` +
			`{"balanceType":"Expected","balanceAmount":{"currency":"EUR","amount":"+187.50"},"lastChangeDateTime":"2026-11-20T08:00:01","creditLimitIncluded":false},` +
			`{"balanceType":"expected","balanceAmount":{"currency":"EUR","amount":"1187.50"},"creditLimitIncluded":true},` +
			`{"balanceType":"authorised","balanceAmount":{"currency":"EUR","amount":"0"},"lastChangeDateTime":"2026-11-20T09:00:01+01:00"}]`,
	},
	{
		id: "phone-1", unlinked: true,
		members:   `"msisdn":"+49 170 0000000","currency":"EUR","cashAccountType":null,"ownerName":null,"_links":null`,
		reference: `"msisdn":"+49 170 0000000","currency":"EUR"`,
		balances:  `[]`,
	},
}

var manyAccounts, hostile = plainAccounts(ManyCount, func(i int) string { return fmt.Sprintf("account-%05d", i+1) }),
	plainAccounts(len(HostileAccounts), func(i int) string { return HostileAccounts[i] })

// accountsOf returns the account list of a consent.
func (b Bank) accountsOf(consent string) []account {
	good := goodAccounts
	if b.Odd {
		good = oddAccounts
	}
	switch consent {
	case ManyConsent:
		return manyAccounts[:ManyCount:ManyCount]
	case HostileConsent:
		return append(good[:len(good):len(good)], hostile...)
	case NoneConsent:
		return nil
	}
	return good[:len(good):len(good)]
}

func plainAccounts(n int, id func(i int) string) []account {
	list := make([]account, n)
	for i := range list {
		list[i] = account{
			id: id(i), members: `"currency":"EUR","name":` + quote("Account "+id(i)), reference: `"currency":"EUR"`,
			balances: `[{"balanceType":"interimAvailable","balanceAmount":{"currency":"EUR","amount":"10.00"}},` +
				`{"balanceType":"interimBooked","balanceAmount":{"currency":"EUR","amount":"-2.50"}}]`,
		}
	}
	return list
}
