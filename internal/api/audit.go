package api

import (
	"context"

	"ais-gateway/internal/event"
)

// An Auditor keeps a record of every request under /v1. Its methods do not block.
type Auditor interface {
	// Reserve reports whether there is room for the record of one more request. If not, the request is refused, and has none.
	Reserve() bool
	// Write writes the audit record of a request.
	Write(ctx context.Context, r event.Request)
}

type unaudited struct{}

func (unaudited) Reserve() bool { return true }

func (unaudited) Write(context.Context, event.Request) {}
