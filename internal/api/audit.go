package api

import (
	"context"
	"sync/atomic"
	"time"
)

// An Auditor keeps a record of every request under /v1. It must not take long, and cannot fail a request.
type Auditor interface {
	Audit(ctx context.Context, e Entry)
}

// An Entry is a request for the audit record. Unlike an Outcome it holds the consent's id, which must not be kept as it is.
type Entry struct {
	Outcome
	At        time.Time // when it came
	RequestID string    // a UUID, the caller's or ours
	Asked     string    // the ASPSP's id that was asked for, a UUID in lower case, configured or not; "" for none
	Consent   string    // the consent's id, well-formed; "" for none
}

type unaudited struct{}

func (unaudited) Audit(context.Context, Entry) {}

// slotsKey is where a request's context has the count of slots that were taken for it.
type slotsKey struct{}

// CountSlot notes that n slots of unattended calls were taken for the request to whose context ctx belongs, or given
// back where n is negative. Requests that share a call leave its slots to the one that leads it.
func CountSlot(ctx context.Context, n int) {
	if slots, ok := ctx.Value(slotsKey{}).(*atomic.Int64); ok {
		slots.Add(int64(n))
	}
}

func withSlots(ctx context.Context, slots *atomic.Int64) context.Context {
	return context.WithValue(ctx, slotsKey{}, slots)
}
