package adapter_test

import (
	"errors"
	"net/netip"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
)

func unattendedQuery() canonical.Query {
	return canonical.Query{ASPSP: uuid.NewString(), Consent: uuid.NewString(), RequestID: uuid.NewString()}
}

func attendedQuery() canonical.Query {
	q := unattendedQuery()
	q.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	return q
}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return ""
}
