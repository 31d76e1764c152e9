package providers

import (
	"context"

	"ais-gateway/internal/canonical"
)

// A ListerWithBalances is a Provider that can read the account list with the balances of every
// account in one call for each page, at ASPSPs that support it.
type ListerWithBalances interface {
	// ListsWithBalances reports whether the ASPSP supports AccountsWithBalances, as configured.
	ListsWithBalances(aspsp string) bool
	// AccountsWithBalances returns the accounts as Provider.Accounts does, each with its balances.
	// For an account without balances in the response Balances is nil.
	AccountsWithBalances(ctx context.Context, q canonical.Query) ([]canonical.AccountWithBalances, error)
}

// An AllBalancesReader is a Provider that can read the balances of all accounts of a consent in one
// call for each page, at ASPSPs that support it.
type AllBalancesReader interface {
	// ReadsAllBalances reports whether the ASPSP supports AllBalances, as configured.
	ReadsAllBalances(aspsp string) bool
	// AllBalances returns the balances of all accounts that the query's consent covers, by account
	// id. It may contain accounts that the account list does not have, and lack accounts of it.
	AllBalances(ctx context.Context, q canonical.Query) (map[string]canonical.AccountBalances, error)
}

// Capabilities is what one call to an ASPSP can return.
type Capabilities struct {
	ListWithBalances bool // the account list with the balances of every account
	AllBalances      bool // the balances of every account
}

// CapabilitiesOf returns what one call of the provider to the ASPSP can return.
func CapabilitiesOf(p Provider, aspsp string) Capabilities {
	lister, lists := p.(ListerWithBalances)
	reader, reads := p.(AllBalancesReader)
	return Capabilities{
		ListWithBalances: lists && lister.ListsWithBalances(aspsp),
		AllBalances:      reads && reader.ReadsAllBalances(aspsp),
	}
}

// RequirementsOf returns what the ASPSP needs from a query.
func RequirementsOf(p Provider, aspsp string) Requirements {
	if r, ok := p.(Requirer); ok {
		return r.Requires(aspsp)
	}
	return Requirements{}
}
