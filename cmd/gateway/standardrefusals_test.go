package main_test

import "cmp"

// ownCodes are error codes of the ASPSPs of berlingroup and obie, as the beginning of their options.
const ownCodes = `options: {codes: {BANK-4711: CONSENT_EXPIRED, BANK-0815: UNATTENDED_LIMIT, FORMAT_ERROR: ACCOUNT_UNKNOWN, UK.OBIE.Field.Invalid: ACCOUNT_UNKNOWN}, `

// Bodies of refusals of Berlin Group and UK Open Banking.
func tppMessage(code string) string {
	return `{"tppMessages":[{"category":"ERROR","code":"` + code + `","text":"` + canary + `","path":"/v1/accounts/` + canary + `"}]}`
}

func bankProblem(code string) string {
	return `{"type":"https://bank.example/` + canary + `","title":"` + canary + `","detail":"` + canary + `","code":"` + code + `"}`
}

func envelope3(code string) string {
	return `{"Code":"400 BadRequest","Id":"` + canary + `","Message":"` + canary + `","Errors":[{"ErrorCode":"` + code + `","Message":"` + canary + `","Path":"Data.` + canary + `"}]}`
}

func envelope4(code string) string {
	return `{"Errors":[{"ErrorCode":"UK.OBIE.Other","Message":"` + canary + `"},{"ErrorCode":"` + code + `","Message":"` + canary + `"}]}`
}

// actions are the actions of problems that are not retry_later.
var actions = map[string]string{
	expired: "renew_consent", revoked: "renew_consent", unknown: "refresh_accounts", rejected: "contact_support",
}

// refusalOf returns a refusal of an attended call, whose problem has the usual action and origin of
// its code.
func refusalOf(provider, name, status, body, code string) refusal {
	r := refusal{
		name: name, provider: provider, attended: true, status: status, body: body,
		code: code, action: cmp.Or(actions[code], "retry_later"), origin: "provider", remaining: 4,
	}
	if code == unavailable {
		r.retryAfter = "30"
	}
	return r
}

// limitOf returns a refusal of an unattended call because its limit is used up.
func limitOf(provider, name, status, header, body, retryAfter string) refusal {
	return refusal{
		name: name, provider: provider, status: status, header: header, body: body,
		code: limitReached, action: "retry_attended", origin: "aspsp", retryAfter: retryAfter,
	}
}

const (
	rejected = "PROVIDER_REJECTED"
	unknown  = "ACCOUNT_UNKNOWN"
	expired  = "CONSENT_EXPIRED"
	revoked  = "CONSENT_INVALID"
)

var standardRefusals = []refusal{
	// Berlin Group.
	refusalOf("berlingroup", "message", "401 No", tppMessage(expired), expired),
	refusalOf("berlingroup", "message in small letters", "403 No", tppMessage("consent_unknown"), revoked),
	refusalOf("berlingroup", "message of the token", "401 No", tppMessage("TOKEN_EXPIRED"), expired),
	refusalOf("berlingroup", "problem", "401 No", bankProblem("CONSENT_INVALID"), revoked),
	refusalOf("berlingroup", "problem with more errors", "401 No", `{"code":"X","additionalErrors":[{"code":"CONSENT_EXPIRED"}]}`, expired),
	refusalOf("berlingroup", "account", "404 No", tppMessage("RESOURCE_UNKNOWN"), unknown),
	refusalOf("berlingroup", "certificate", "401 No", tppMessage("CERTIFICATE_EXPIRED"), rejected),
	refusalOf("berlingroup", "signature", "401 No", tppMessage("SIGNATURE_INVALID"), rejected),
	refusalOf("berlingroup", "blocked", "403 No", tppMessage("SERVICE_BLOCKED"), failed),
	refusalOf("berlingroup", "busy", "503 No", bankProblem("SERVICE_UNAVAILABLE"), unavailable),
	refusalOf("berlingroup", "own code", "400 No", tppMessage("Bank-4711"), expired),
	refusalOf("berlingroup", "own code before that of the standard", "400 No", tppMessage("FORMAT_ERROR"), unknown),
	refusalOf("berlingroup", "only warnings", "400 No", `{"tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED"}]}`, rejected),
	refusalOf("berlingroup", "messages as text", "403 No", `{"tppMessages":"`+canary+`","code":"CONSENT_UNKNOWN"}`, revoked),
	refusalOf("berlingroup", "messages of odd types", "400 No", `{"tppMessages":[7,null,{"code":[],"text":{}}],"code":{}}`, rejected),
	refusalOf("berlingroup", "empty 401", "401 No", "", revoked),
	refusalOf("berlingroup", "empty 404", "404 No", "", unknown),
	refusalOf("berlingroup", "404 page", "404 No", page, rejected),
	refusalOf("berlingroup", "empty 429", "429 No", "", throttled),
	refusalOf("berlingroup", "too many requests", "429 No", tppMessage("TOO_MANY_REQUESTS"), throttled),
	refusalOf("berlingroup", "list", "403 No", `["`+canary+`"]`, rejected),
	refusalOf("berlingroup", "null", "403 No", "null", rejected),
	refusalOf("berlingroup", "text", "500 No", canary, failed),
	limitOf("berlingroup", "limit", "429 No", "", tppMessage("ACCESS_EXCEEDED"), "86400"),
	limitOf("berlingroup", "limit for a minute", "429 No", "Retry-After: 60\r\n", tppMessage("ACCESS_EXCEEDED"), "60"),
	limitOf("berlingroup", "limit in words", "429 No", "", `{"message":"The limit of 4 calls per consent per day is reached."}`, "86400"),
	limitOf("berlingroup", "own limit", "403 No", "", tppMessage("BANK-0815"), "86400"),
	limitOf("berlingroup", "address required", "400 No", "", `{"tppMessages":[{"category":"ERROR","code":"X","text":"Header PSU-IP-Address is required."}]}`, "86400"),

	// UK Open Banking.
	refusalOf("obie", "version 3", "400 No", envelope3("UK.OBIE.Resource.InvalidConsentStatus"), revoked),
	refusalOf("obie", "version 4", "403 No", envelope4("UK.OBIE.Reauthenticate"), expired),
	refusalOf("obie", "without the prefix", "403 No", envelope3("Resource.InvalidConsentStatus"), revoked),
	refusalOf("obie", "account", "400 No", envelope3("UK.OBIE.Resource.NotFound"), unknown),
	refusalOf("obie", "own code", "400 No", envelope4("bank-4711"), expired),
	refusalOf("obie", "own code before that of the standard", "400 No", envelope3("UK.OBIE.Field.Invalid"), unknown),
	refusalOf("obie", "within Data", "403 No", `{"Data":{"code":"X","message":"Access was revoked"}}`, revoked),
	refusalOf("obie", "within error-json", "400 No", `{"error-json":`+envelope3("UK.OBIE.Resource.NotFound")+`}`, unknown),
	refusalOf("obie", "token expired", "401 No", `{"message":"The access token has expired"}`, expired),
	refusalOf("obie", "certificate", "401 No", `{"message":"The certificate has expired"}`, rejected),
	refusalOf("obie", "errors of odd types", "400 No", `{"Errors":[7,null,{"ErrorCode":[]}],"Code":{},"Message":[]}`, rejected),
	refusalOf("obie", "errors as text", "400 No", `{"Errors":"`+canary+`"}`, rejected),
	refusalOf("obie", "empty 401", "401 No", "", revoked),
	refusalOf("obie", "empty 403", "403 No", "", rejected),
	refusalOf("obie", "empty 404", "404 No", "", rejected),
	refusalOf("obie", "404 page", "404 No", page, rejected),
	refusalOf("obie", "list", "400 No", `["`+canary+`"]`, rejected),
	refusalOf("obie", "null", "400 No", "null", rejected),
	refusalOf("obie", "text", "500 No", canary, failed),
	refusalOf("obie", "empty 429", "429 No", "", throttled),
	limitOf("obie", "limit in words", "429 No", "", `{"message":"The limit of unattended access is used up."}`, "86400"),
	limitOf("obie", "limit for a minute", "429 No", "Retry-After: 60\r\n", envelope3("BANK-0815"), "60"),
	limitOf("obie", "own limit", "400 No", "", envelope4("BANK-0815"), "86400"),
	limitOf("obie", "address required", "400 No", "", `{"message":"Header x-fapi-customer-ip-address is required"}`, "86400"),
}
