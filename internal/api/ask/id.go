package ask

import (
	"net/url"
	"strings"

	"ais-gateway/internal/canonical"
)

// ASPSP reads the path's segment aspspId, as it was sent. The id is in lower case, and "" where it is none.
func ASPSP(segment string) (string, []canonical.Fault) {
	id, err := url.PathUnescape(segment)
	if err != nil || !isUUID(id) {
		return "", []canonical.Fault{{In: "path", Name: "aspspId", Detail: notUUID}}
	}
	return strings.ToLower(id), nil
}

// Account reads the path's segment accountId, as it was sent. It is unescaped once, and stands for nothing but
// itself.
func Account(segment string) (string, []canonical.Fault) {
	id, err := url.PathUnescape(segment)
	if err != nil {
		return "", accountFault("path", "is not percent-encoded as a path's segment must be")
	}
	return id, accountFault("path", illAccount(id))
}

// AccountQuery reads accountId in a query, as it was sent; "" where the query does not have it.
func AccountQuery(raw string) (string, []canonical.Fault) {
	query, err := url.ParseQuery(raw)
	ids := query["accountId"]
	switch {
	case err != nil:
		return "", accountFault("query", "cannot be read, since the query is not percent-encoded as it must be")
	case len(ids) == 0:
		return "", nil
	case len(ids) > 1:
		return "", accountFault("query", givenTwice)
	}
	return ids[0], accountFault("query", illAccount(ids[0]))
}

func accountFault(in, detail string) []canonical.Fault {
	if detail == "" {
		return nil
	}
	return []canonical.Fault{{In: in, Name: "accountId", Detail: detail}}
}

// illAccount says why a text can be no account's identifier, "" if it can. What a path may be cleaned of would
// name another resource.
func illAccount(id string) string {
	if id == "." || id == ".." {
		return "cannot be a relative segment of a path"
	}
	return illText(id, maxText)
}
