package adapter_test

import (
	"errors"

	"github.com/google/uuid"

	"ais-gateway/internal/canonical"
)

func unattendedQuery() canonical.Query {
	return canonical.Query{ASPSP: uuid.NewString(), Consent: uuid.NewString(), RequestID: uuid.NewString(), Token: "token"}
}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return ""
}
