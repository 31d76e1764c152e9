package ask

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"ais-gateway/internal/canonical"
)

// ASPSP reads the path's segment aspspId, as it was sent. The id is in lower case, and "" where it is none.
func ASPSP(segment string) (string, []canonical.FieldError) {
	id, err := url.PathUnescape(segment)
	if err != nil || !isUUID(id) {
		return "", []canonical.FieldError{{In: "path", Name: "aspspId", Detail: notUUID}}
	}
	return strings.ToLower(id), nil
}

// Account reads the path's segment accountId, as it was sent. It is unescaped once, and stands for nothing but
// itself.
func Account(segment string) (string, []canonical.FieldError) {
	id, err := url.PathUnescape(segment)
	if err != nil {
		return "", accountFault("path", "is not valid percent-encoding")
	}
	return id, accountFault("path", illAccount(id))
}

// AccountQuery reads accountId in a query, as it was sent; "" where the query does not have it.
func AccountQuery(raw string) (string, []canonical.FieldError) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", accountFault("query", "is not valid percent-encoding")
	}
	ids := query["accountId"]
	delete(query, "accountId")
	var faults []canonical.FieldError
	for _, name := range slices.Sorted(maps.Keys(query)) {
		faults = append(faults, canonical.FieldError{In: "query", Name: parameter(name), Detail: "is not a parameter of this call"})
	}
	switch len(ids) {
	case 0:
		return "", faults
	case 1:
		return ids[0], append(faults, accountFault("query", illAccount(ids[0]))...)
	}
	return "", append(faults, accountFault("query", sentTwice)...)
}

// parameterName matches what can be the name of a query parameter.
var parameterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,31}$`)

// parameter is the name of an unknown query parameter if it can be one, so that a typing error is found. A name with many
// digits may be an account's number or another identifier; it is not repeated.
func parameter(name string) string {
	const mostDigits = 4
	digits := 0
	for _, c := range name {
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	if digits > mostDigits || !parameterName.MatchString(name) {
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

// illAccount says why a text can be no account's identifier, "" if it can. What a path may be cleaned of would
// name another resource.
func illAccount(id string) string {
	if id == "." || id == ".." {
		return "must not be \".\" or \"..\""
	}
	return illText(id, maxText)
}
