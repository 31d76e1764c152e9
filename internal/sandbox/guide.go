package sandbox

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"text/tabwriter"

	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
)

// BaseURL returns the URL under which this machine can call a listener. An unspecified address,
// such as 0.0.0.0, is replaced by the loopback address.
func BaseURL(listener net.Addr) string {
	at, err := netip.ParseAddrPort(listener.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return "http://" + listener.String()
	}
	return "http://" + netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
}

// Guide writes commands to copy and paste, and the consents that trigger each error. api and admin
// are the base URLs of the gateway.
func (s *Sandbox) Guide(w io.Writer, api, admin string) {
	fmt.Fprintf(w, "AIS Gateway sandbox\n\n  API    %s\n  admin  %s\n  key    %s\n\n", api, admin, Key)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  ASPSP\tprovider\tid\tconsent\ttoken")
	for _, bank := range banks {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", bank.name, bank.provider, bank.id, bank.consent, bank.token)
	}
	_ = table.Flush()
	fmt.Fprintf(w, `
Copy and paste:

  # the accounts of a consent, unattended (without the user)
  curl -i %[1]s/v1/aspsps/%[2]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s'

  # the balances of an account, with another consent; call it five times: the fifth is refused
  curl -i %[1]s/v1/aspsps/%[2]s/accounts/%[5]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[10]sfive'

  # the same call, attended (the user is present)
  curl -i %[1]s/v1/aspsps/%[2]s/accounts/%[5]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s' -H 'PSU-IP-Address: 203.0.113.7'

  # other providers, the same format
  curl -i %[1]s/v1/aspsps/%[6]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[7]s' -H 'Provider-Authorization: Bearer %[8]s'
  curl -i %[1]s/v1/aspsps/%[6]s/accounts/%[9]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[7]s' -H 'Provider-Authorization: Bearer %[8]s'
  curl -i %[1]s/v1/aspsps/%[11]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[12]s'
  curl -i %[1]s/v1/aspsps/%[13]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[14]s' -H 'Provider-Authorization: Bearer %[15]s'

  # the accounts and balances of two banks in one request
  curl -i %[1]s/v1/aggregations -H 'X-API-Key: %[3]s' -H 'Content-Type: application/json' -d '{"include": ["balances"], "sources": [{"aspspId": "%[11]s", "consentId": "%[12]s"}, {"aspspId": "%[13]s", "consentId": "%[14]s", "providerAuthorization": "Bearer %[15]s"}]}'

  # the unattended calls that a consent has left; the ASPSPs; the API's specification
  curl -i %[1]s/v1/aspsps/%[2]s/unattended-access -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s'
  curl -i %[1]s/v1/aspsps -H 'X-API-Key: %[3]s'
  curl -i %[1]s/openapi.yaml

`, api, mastercardsim.WoodBank, Key, mastercardsim.Consent, mastercardsim.Account, MyPOS, mypossim.GoodConsent,
		mypossim.GoodToken, mypossim.GoodAccount, mastercardsim.FreshConsent, ElmBank, berlingroupsim.GoodConsent,
		KingfisherBank, obiesim.GoodConsent, obiesim.Token(obiesim.GoodConsent))
	guideConsents(w)
}

// banks are the ASPSPs with a consent and, where one is required, the user's token.
var banks = []struct{ name, provider, id, consent, token string }{
	{mastercardsim.Names[mastercardsim.WoodBank], "mastercard", mastercardsim.WoodBank, mastercardsim.Consent, ""},
	{mastercardsim.Names[mastercardsim.StoneBank], "mastercard", mastercardsim.StoneBank, mastercardsim.Consent, ""},
	{mastercardsim.Names[mastercardsim.RiverBank], "mastercard", mastercardsim.RiverBank, mastercardsim.Consent, ""},
	{"myPOS", "mypos", MyPOS, mypossim.GoodConsent, mypossim.GoodToken},
	{"Elm Bank", "berlingroup", ElmBank, berlingroupsim.GoodConsent, ""},
	{"Birch Bank", "berlingroup", BirchBank, berlingroupsim.GoodConsent, berlingroupsim.GoodToken},
	{"Willow Bank", "berlingroup", WillowBank, berlingroupsim.ManyConsent, ""},
	{"Kingfisher Bank", "obie", KingfisherBank, obiesim.GoodConsent, obiesim.Token(obiesim.GoodConsent)},
	{"Heron Bank", "obie", HeronBank, obiesim.GoodConsent, obiesim.Token(obiesim.GoodConsent)},
}

// guideConsents writes the consents that trigger each error.
func guideConsents(w io.Writer) {
	fmt.Fprint(w, "Consents that trigger each error:\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  code\tprovider mastercard\tprovider mypos\tprovider berlingroup\tprovider obie")
	for _, row := range [][5]string{
		{"CONSENT_EXPIRED", mastercardsim.ConsentExpired, mypossim.Consent401ConsentExpired, berlingroupsim.Consent401ConsentExpired, obiesim.Consent403Reauth},
		{"CONSENT_INVALID", mastercardsim.ConsentRevoked, mypossim.Consent401ConsentInvalid, berlingroupsim.Consent401ConsentInvalid, obiesim.Consent403Status},
		{"ACCOUNT_UNKNOWN", mastercardsim.ConsentUnlinked, mypossim.Consent404Unknown, berlingroupsim.Consent404ResourceUnknown, obiesim.Consent400NotFound},
		{"UNATTENDED_LIMIT", mastercardsim.ConsentExhausted, mypossim.Consent429Exceeded, berlingroupsim.Consent429Exceeded, obiesim.Consent429Unattended},
		{"PROVIDER_THROTTLED", mastercardsim.ConsentThrottled, mypossim.Consent429Throttled, berlingroupsim.Consent429TooMany, obiesim.Consent429Throttled},
		{"PROVIDER_REJECTED", mastercardsim.ConsentUnauthorized, mypossim.Consent401Certificate, berlingroupsim.Consent401Certificate, obiesim.Consent401Certificate},
		{"PROVIDER_ERROR", mastercardsim.ConsentServerError, mypossim.Consent500, berlingroupsim.Consent500, obiesim.Consent500},
		{"PROVIDER_UNAVAILABLE", mastercardsim.ConsentUnavailable, mypossim.Consent503, berlingroupsim.Consent503, obiesim.Consent503},
		{"PROVIDER_TIMEOUT", mastercardsim.ConsentTimeout, mypossim.Consent504, berlingroupsim.Consent504Bare, obiesim.Consent504},
	} {
		fmt.Fprintf(table, "  %s\n", strings.Join(row[:], "\t"))
	}
	_ = table.Flush()
	fmt.Fprintf(w, "\nNew consents with all unattended calls left: any id that begins with %q (mastercard), any other UUID (mypos),\n"+
		"any other text (berlingroup, obie). At obie the token names the consent: it is %q followed by the consent id.\n"+
		"Press Ctrl-C to stop the sandbox.\n",
		mastercardsim.FreshConsent, obiesim.TokenPrefix)
}
