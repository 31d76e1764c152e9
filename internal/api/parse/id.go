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

// AccountIDQuery parses the parameter accountId of a raw query; "" if the query does not have it.
// Any other parameter is a fault.
func AccountIDQuery(raw string) (string, []canonical.FieldError) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", accountFault("query", "is not valid percent-encoding")
	}
	ids := query["accountId"]
	delete(query, "accountId")
	var faults []canonical.FieldError
	for _, name := range slices.Sorted(maps.Keys(query)) {
		faults = append(faults, canonical.FieldError{In: "query", Name: parameterLabel(name), Detail: "is not a parameter of this call"})
	}
	switch len(ids) {
	case 0:
		return "", faults
	case 1:
		return ids[0], append(faults, accountFault("query", checkAccountID(ids[0]))...)
	}
	return "", append(faults, accountFault("query", sentTwice)...)
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
