package api

import (
	"context"
	"sync/atomic"
	"time"
)

// An Auditor keeps a record of every request under /v1. Its methods do not block.
type Auditor interface {
	// Reserve reports whether there is room for the record of one more request. If not, the request is refused, and has none.
	Reserve() bool
	// Audit keeps the record of a request.
	Audit(ctx context.Context, e AuditEvent)
}

// An Entry is a request for the audit record. Unlike an Outcome it holds the consent's id, which must not be kept as it is.
type AuditEvent struct {
	RequestOutcome
	At        time.Time // when it came
	RequestID string    // a UUID, the caller's or ours
	Asked     string    // the ASPSP's id that was asked for, a UUID in lower case, configured or not; "" for none
	Consent   string    // the consent's id, well-formed; "" for none
	ClientBy  string    // how the client was identified, as callers.Client has it; "" before it is known
	Issuer    string    // the place of its token's issuer in the configuration; "" for none
	Cause     string    // of a problem, fit for the log; "" for none
	Reserved  bool      // Reserve was true for the request
}

type unaudited struct{}

func (unaudited) Reserve() bool { return true }

func (unaudited) Audit(context.Context, AuditEvent) {}

// usage is what was used for one request so far.
type usage struct {
	slots  atomic.Int64 // slots of the unattended limit
	waited atomic.Int64 // nanoseconds in which it waited for a provider
}

// usageKey is the key of a request's *usage in its context.
type usageKey struct{}

// CountSlot notes that n slots of unattended calls were taken for the request to whose context ctx belongs, or given
// back where n is negative. Requests that share a call leave its slots to the one that leads it.
func CountSlot(ctx context.Context, n int) {
	if u, ok := ctx.Value(usageKey{}).(*usage); ok {
		u.slots.Add(int64(n))
	}
}

// CountWait adds d to the time in which the request of ctx waited for a provider, by its own call or by a shared one.
func CountWait(ctx context.Context, d time.Duration) {
	if u, ok := ctx.Value(usageKey{}).(*usage); ok {
		u.waited.Add(int64(d))
	}
}

func withUsage(ctx context.Context, u *usage) context.Context {
	return context.WithValue(ctx, usageKey{}, u)
}
