// Package canonical is the gateway's vocabulary: accounts, balances, exact amounts, queries and the closed
// set of error kinds. Every room speaks it; it knows no provider, no transport and no storage, and it
// imports the standard library and google/uuid alone.
package canonical
