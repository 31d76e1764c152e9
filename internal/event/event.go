// Package event describes API requests. One Request feeds the log line, the audit record and the
// metrics and spans of a request; each source of an aggregation has one for its audit record.
// internal/api fills it, internal/gateway and internal/aggregation/runner add waits,
// internal/providers/upstream and the runner slots; internal/audit and internal/telemetry read it.
package event

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"ais-gateway/internal/canonical"
)

// Request describes one API request. Apart from RequestID and Consent it holds nothing that the
// caller wrote.
type Request struct {
	Start    time.Time     // when the request arrived
	Duration time.Duration // from Start to the end of the response
	Waited   time.Duration // the part of Duration spent waiting for a provider

	Method    string // a known HTTP method, or OTHER
	Route     string // the path template of the contract; "" if no route matched
	RequestID string // a UUID: the caller's X-Request-ID or a new one
	Status    int    // 0 if no response was sent
	Code      string // the code of the problem; "" for a success
	Cause     string // why the problem occurred, in words that may be logged; "" for a success

	Client       string // the client's name in a form that may be logged; "" before authentication
	IdentifiedBy string // how the client was identified: api_key, or a claim of its token; "" before authentication
	Issuer       string // the configuration path of the token's issuer; "" for an API key

	ASPSP          string           // the id of a configured ASPSP; "" otherwise
	Provider       string           // the name of the ASPSP's provider
	RequestedASPSP string           // the ASPSP id in the path, configured or not; "" if it is no UUID
	Consent        canonical.Secret // the consent id. Only its hash may be stored

	Attended      *bool  // nil if the route does not distinguish, or before the headers were read
	Read          bool   // the request reads accounts or balances
	Cache         string // how the cache was used, a gateway.CacheResult; "" if no account list was requested
	Slots         int    // slots of the unattended limit taken for this request, less those released
	StaleByLimit  bool   // a stale list was returned because no unattended call was allowed or could be counted
	Outcome       string // of a source of an aggregation, see Planned; "" for a request
	AuditReserved bool   // space for the audit record was reserved
}

// Outcomes of sources that have none in the response of their aggregation. The other outcomes are
// those of the response.
const (
	Planned    = "planned"    // the aggregation was a dry run
	Unfinished = "unfinished" // the aggregation failed, or its caller left, before the result of the source was known
)

// Level returns the level of the request's log line: ERROR for an internal error, INFO otherwise.
func (r Request) Level() slog.Level {
	if r.Code == string(canonical.InternalError) {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// maxAttrs is the maximum number of attributes that Attrs returns.
const maxAttrs = 16

// Attrs returns the attributes of the log line, which the audit record has too. Empty texts are
// left out.
func (r Request) Attrs() []slog.Attr { return r.appendAttrs(make([]slog.Attr, 0, maxAttrs)) }

// appendAttrs appends the attributes that Attrs returns.
func (r Request) appendAttrs(to []slog.Attr) []slog.Attr {
	to = append(to,
		slog.String("method", r.Method),
		slog.String("route", r.Route),
		slog.Int("status", r.Status),
		slog.String("code", r.Code),
		slog.String("cause", r.Cause),
		slog.String("client", r.Client),
		slog.String("identified_by", r.IdentifiedBy),
		slog.String("issuer", r.Issuer),
		slog.String("aspsp_id", r.ASPSP),
		slog.String("provider", r.Provider),
		slog.String("cache", r.Cache),
		slog.String("outcome", r.Outcome),
		slog.Int("slots", r.Slots),
		slog.Int64("duration_ms", r.Duration.Milliseconds()),
		slog.String("request_id", r.RequestID),
	)
	to = slices.DeleteFunc(to, func(a slog.Attr) bool { return a.Value.Kind() == slog.KindString && a.Value.String() == "" })
	if r.Attended != nil {
		to = append(to, slog.Bool("attended", *r.Attended))
	}
	return to
}

// UnattendedRead reports whether the request is an unattended read of accounts or balances that
// succeeded.
func (r Request) UnattendedRead() bool {
	succeeded := r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices
	return r.Read && r.Attended != nil && !*r.Attended && succeeded
}

// Totals counts what one request has used so far. Calls made for the request may add to it
// concurrently.
type Totals struct {
	slots  atomic.Int64
	waited atomic.Int64 // nanoseconds
}

// Slots returns the slots that were added, less those released.
func (t *Totals) Slots() int { return int(t.slots.Load()) }

// Waited returns the waiting time that was added.
func (t *Totals) Waited() time.Duration { return time.Duration(t.waited.Load()) }

type totalsKey struct{}

// WithTotals returns a context in which AddSlots and AddWait add to t.
func WithTotals(ctx context.Context, t *Totals) context.Context {
	return context.WithValue(ctx, totalsKey{}, t)
}

// AddSlots adds n slots to the request of ctx; n is negative for released slots. If requests share
// a call, its slots count for the request that makes the call. Without WithTotals it does nothing.
func AddSlots(ctx context.Context, n int) {
	if t, ok := ctx.Value(totalsKey{}).(*Totals); ok {
		t.slots.Add(int64(n))
	}
}

// AddWait adds d to the time that the request of ctx has waited for a provider, in its own call or
// a shared one. Without WithTotals it does nothing.
func AddWait(ctx context.Context, d time.Duration) {
	if t, ok := ctx.Value(totalsKey{}).(*Totals); ok {
		t.waited.Add(int64(d))
	}
}
