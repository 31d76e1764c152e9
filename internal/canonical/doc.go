// Package canonical defines the gateway's model: accounts, balances, exact amounts, queries and the
// closed set of error kinds. It is independent of providers, transport and storage; all other
// packages use it. The JSON of accounts and balances is the JSON of the API.
package canonical
