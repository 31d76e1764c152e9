package sandbox

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"text/tabwriter"

	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
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
	fmt.Fprintln(table, "  ASPSP\tprovider\tid")
	for _, id := range []string{mastercardsim.WoodBank, mastercardsim.StoneBank, mastercardsim.RiverBank} {
		fmt.Fprintf(table, "  %s\tmastercard\t%s\n", mastercardsim.Names[id], id)
	}
	fmt.Fprintf(table, "  myPOS\tmypos\t%s\n", MyPOS)
	_ = table.Flush()
	fmt.Fprintf(w, `
Copy and paste:

  # the accounts of a consent, unattended (without the user)
  curl -i %[1]s/v1/aspsps/%[2]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s'

  # the balances of an account, with another consent; call it five times: the fifth is refused
  curl -i %[1]s/v1/aspsps/%[2]s/accounts/%[5]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[10]sfive'

  # the same call, attended (the user is present)
  curl -i %[1]s/v1/aspsps/%[2]s/accounts/%[5]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s' -H 'PSU-IP-Address: 203.0.113.7'

  # another provider, the same format
  curl -i %[1]s/v1/aspsps/%[6]s/accounts -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[7]s' -H 'Provider-Authorization: Bearer %[8]s'
  curl -i %[1]s/v1/aspsps/%[6]s/accounts/%[9]s/balances -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[7]s' -H 'Provider-Authorization: Bearer %[8]s'

  # the unattended calls that a consent has left; the ASPSPs; the API's specification
  curl -i %[1]s/v1/aspsps/%[2]s/unattended-access -H 'X-API-Key: %[3]s' -H 'Consent-ID: %[4]s'
  curl -i %[1]s/v1/aspsps -H 'X-API-Key: %[3]s'
  curl -i %[1]s/openapi.yaml

`, api, mastercardsim.WoodBank, Key, mastercardsim.Consent, mastercardsim.Account, MyPOS, mypossim.GoodConsent,
		mypossim.GoodToken, mypossim.GoodAccount, mastercardsim.FreshConsent)
	guideConsents(w)
}

// guideConsents writes the consents that trigger each error.
func guideConsents(w io.Writer) {
	fmt.Fprint(w, "Consents that trigger each error:\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  code\tprovider mastercard\tprovider mypos")
	for _, row := range [][3]string{
		{"CONSENT_EXPIRED", mastercardsim.ConsentExpired, mypossim.Consent401ConsentExpired},
		{"CONSENT_INVALID", mastercardsim.ConsentRevoked, mypossim.Consent401ConsentInvalid},
		{"ACCOUNT_UNKNOWN", mastercardsim.ConsentUnlinked, mypossim.Consent404Unknown},
		{"UNATTENDED_LIMIT", mastercardsim.ConsentExhausted, mypossim.Consent429Exceeded},
		{"PROVIDER_THROTTLED", mastercardsim.ConsentThrottled, mypossim.Consent429Throttled},
		{"PROVIDER_REJECTED", mastercardsim.ConsentUnauthorized, mypossim.Consent401Certificate},
		{"PROVIDER_ERROR", mastercardsim.ConsentServerError, mypossim.Consent500},
		{"PROVIDER_UNAVAILABLE", mastercardsim.ConsentUnavailable, mypossim.Consent503},
		{"PROVIDER_TIMEOUT", mastercardsim.ConsentTimeout, mypossim.Consent504},
	} {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", row[0], row[1], row[2])
	}
	_ = table.Flush()
	fmt.Fprintf(w, "\nNew consents with all unattended calls left: any id that begins with %q (provider mastercard), any other UUID (provider mypos).\n"+
		"Press Ctrl-C to stop the sandbox.\n",
		mastercardsim.FreshConsent)
}
