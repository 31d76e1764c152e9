// Package providertest is the contract suite that every adapter must pass. A test of the adapter
// fills every field of a Harness and calls Run. There are no optional parts. Only tests import it.
package providertest

import (
	"net/http"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/providertest/faultproxy"
)

// A Harness describes an adapter and its simulator to the suite. Every field is required.
type Harness struct {
	Open providers.Open

	// Settings decodes a valid configuration of the adapter, which Simulator accepts.
	Settings func(into any) error

	// Simulator returns the provider's simulator, whose ASPSPs use the call log.
	Simulator func(l *aspspsim.CallLog) http.Handler

	// Options decodes valid options of the ASPSP, with which the adapter calls the simulator. An
	// adapter without options does not call it.
	Options func(into any) error

	// Query is valid and unattended. Its consent covers at least two accounts. The suite replaces
	// its consent and its token together.
	Query canonical.Query

	// Token returns the token that belongs to a consent of the simulator, as in Query.Token.
	Token func(consent string) canonical.Secret

	// Account is the id of one of the consent's accounts. It has at least two balances, one of them
	// a debit.
	Account string

	// HostileAccounts are accounts of the same consent whose ids break unescaped paths: at least
	// "../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y" and "ключ:1". The simulator returns
	// balances for each.
	HostileAccounts []string

	// ManyAccounts is a consent of the same ASPSP with ManyCount accounts, which need several pages
	// if the provider has pages. ManyCount is at least 60.
	ManyAccounts string
	ManyCount    int

	// Refusals are consents of the same ASPSP for which every read fails, by the expected kind: at
	// least ConsentExpired, ConsentInvalid, AccountUnknown, UnattendedLimit (which the ASPSP
	// reports regardless of the number of calls), ProviderRejected, ProviderThrottled,
	// ProviderError, ProviderUnavailable and ProviderTimeout (status 504).
	Refusals map[canonical.Kind]string

	// AccountsMutations and BalancesMutations make a valid response invalid: the list of Query's
	// consent and the balances of Account. The adapter must return ProviderInvalidResponse.
	AccountsMutations map[string]Mutation
	BalancesMutations map[string]Mutation

	// Example is a response with balances of Account.
	Example Example
}

// A Mutation changes a response: it modifies the header and returns the new body.
type Mutation = faultproxy.Mutation

// An Example is a response body, in which {requestId} is replaced by the request id, and the
// expected balances: type, amount, currency and indicator of each, for example "ITAV -4.20 PLN
// DBIT".
type Example struct {
	Body string
	Want []string
}

// RequiredMutations must be in both maps of mutations, except "missing id or amount", which only
// BalancesMutations needs. RequiredBalances must be in BalancesMutations.
var (
	RequiredMutations = []string{"null record", "missing id or amount", "foreign request", "wrong type of list", "duplicate member"}
	RequiredBalances  = []string{"foreign account", "amount no number", "huge exponent", "bad currency"}
)
