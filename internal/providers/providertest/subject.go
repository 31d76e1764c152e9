// Package providertest is the contract suite that every adapter passes, without skip flags: an adapter's test
// describes itself as a Subject, with every member filled, and calls Run. Only tests import it.
package providertest

import (
	"net/http"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/aspspsim"
)

// A Subject is an adapter and its simulator, as the suite needs them. Every member is required.
type Subject struct {
	Open providers.Open

	// Settings decodes valid settings of the adapter, with which Simulator lets it in.
	Settings func(into any) error

	// Simulator makes the provider's simulator, its ASPSPs keeping their record in the ledger.
	Simulator func(l *aspspsim.Ledger) http.Handler

	// Query is unattended, valid, and of a consent that covers two accounts or more.
	Query canonical.Query

	// Account is one of the consent's accounts. It has two balances or more, one of which is a debit.
	Account string

	// HostileAccounts are accounts of the same consent whose ids hold what breaks paths and encodings:
	// "../../admin", "a%2Fb", "a/b", "a+b/c", "%", "?x=1#y", "ключ:1". The simulator answers each with balances.
	HostileAccounts []string

	// ManyAccounts is a consent of the same ASPSP with more accounts than the provider puts on one page, or
	// with 60 where the provider has no pages.
	ManyAccounts string
	ManyCount    int

	// Refusals are consents of the same ASPSP which make every read fail, by the kind that the failure must
	// have. At least ConsentExpired, ConsentInvalid, AccountUnknown, UnattendedLimit (which the ASPSP says of
	// itself, whatever was counted), ProviderRejected, ProviderThrottled, ProviderError, ProviderUnavailable
	// and ProviderTimeout (an answer of 504).
	Refusals map[canonical.Kind]string

	// Mutations change a good answer into one that must be refused as ProviderInvalidResponse: the list of Query's
	// consent, and the balances of Account.
	AccountsMutations map[string]Mutation
	BalancesMutations map[string]Mutation

	// Signed is an answer to a read of Account's balances.
	Signed Example
}

// A Mutation changes a good answer: its header in place, its body by what it returns.
type Mutation func(h http.Header, body []byte) []byte

// An Example is the body of an answer, in which {requestId} stands for the request's id, and what must be made of
// its balances: type, amount, currency and indicator of each, as in "ITAV -4.20 PLN DBIT".
type Example struct {
	Body string
	Want []string
}

// RequiredMutations must stand in both maps of mutations; RequiredBalances in BalancesMutations besides.
var (
	RequiredMutations = []string{"null record", "missing id or amount", "foreign request", "wrong type of list", "duplicate member"}
	RequiredBalances  = []string{"foreign account", "amount no number", "huge exponent", "bad currency"}
)
