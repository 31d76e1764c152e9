package parse

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
)

// ASPSPID parses the escaped path segment aspspId. It returns the id in lower case, or "" if it is
// no UUID.
func ASPSPID(segment string) (string, []canonical.FieldError) {
	id, err := url.PathUnescape(segment)
	if err != nil || !isUUID(id) {
		return "", []canonical.FieldError{{In: "path", Name: "aspspId", Detail: notUUID}}
	}
	return strings.ToLower(id), nil
}

// AccountID parses the escaped path segment accountId. It unescapes the segment once.
func AccountID(segment string) (string, []canonical.FieldError) {
	id, err := url.PathUnescape(segment)
	if err != nil {
		return "", accountFault("path", "is not valid percent-encoding")
	}
	return id, accountFault("path", checkAccountID(id))
}

// ResourceQuery parses the raw query of a call about one resource: the parameter accountId, or
// allBalances=true; the zero values if it has neither. Any other parameter is a fault.
func ResourceQuery(raw string) (account string, allBalances bool, faults []canonical.FieldError) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", false, accountFault("query", "is not valid percent-encoding")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "accountId" && name != "allBalances" {
			faults = append(faults, canonical.FieldError{In: "query", Name: parameterLabel(name), Detail: "is not a parameter of this call"})
		}
	}
	ids, all := query["accountId"], query["allBalances"]
	switch len(ids) {
	case 0:
	case 1:
		account, faults = ids[0], append(faults, accountFault("query", checkAccountID(ids[0]))...)
	default:
		faults = append(faults, accountFault("query", sentTwice)...)
	}
	if detail := checkAllBalances(all, len(ids) > 0); detail != "" {
		faults = append(faults, canonical.FieldError{In: "query", Name: "allBalances", Detail: detail})
	}
	return account, len(all) > 0, faults
}

// checkAllBalances returns why the values of the parameter allBalances are not valid, or "".
func checkAllBalances(values []string, withAccount bool) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		return sentTwice
	case values[0] != "true":
		return "must be true"
	case withAccount:
		return "must not be sent together with accountId"
	}
	return ""
}

// parameterName matches names that a query parameter can have.
var parameterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,31}$`)

// parameterLabel returns the name of an unknown query parameter, so that callers find typing
// errors, or "(unknown)". A name with more than four digits may be an account number and is not
// repeated.
func parameterLabel(name string) string {
	const maxDigits = 4
	digits := 0
	for _, c := range name {
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	if digits > maxDigits || !parameterName.MatchString(name) {
		return "(unknown)"
	}
	return name
}

func accountFault(in, detail string) []canonical.FieldError {
	if detail == "" {
		return nil
	}
	return []canonical.FieldError{{In: in, Name: "accountId", Detail: detail}}
}

// checkAccountID returns why id is no valid account id, or "". It refuses "." and "..", because
// proxies may remove such segments, and the path would name another resource.
func checkAccountID(id string) string {
	if id == "." || id == ".." {
		return "must not be \".\" or \"..\""
	}
	return checkText(id, maxText)
}
