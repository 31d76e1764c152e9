package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/coalesce"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/store/steps"
	"ais-gateway/internal/unattended"
)

// providerRead is one read of a provider for a client. What earlier reads have shown is remembered
// in Redis: an unattended read that the ASPSP has refused within the last hour, or whose pages
// exceed the remaining slots, is not started. Without Redis nothing is remembered, and the read is
// started.
type providerRead struct {
	g       *Gateway
	aspsp   *aspsp
	client  string
	q       canonical.Query
	account string       // "" for the account list
	memory  cache.Memory // of earlier reads
	// usage is that of an unattended list's unit, as it was read concurrently with the lookup; nil
	// if there is none, or if the request has waited since.
	usage *steps.Pending[unattended.Usage]
}

// key identifies the cached data of the read's client and consent.
func (r *providerRead) key() cache.Key { return cacheKey(r.client, r.q) }

// options returns how the read shares a call with identical ones: of the same client, ASPSP,
// consent, user token and account, both attended or both unattended.
func (r *providerRead) options(budget *steps.Budget) coalesce.Options {
	kind := "unattended"
	switch {
	case r.account != "":
		kind = "balances"
	case r.q.Attended():
		kind = "attended"
	}
	consent := subject(r.q, "")
	read := consent
	if r.account != "" {
		read = subject(r.q, r.account)
	}
	call := cache.CallID{Key: r.key(), ShareKey: kind + ":" + read}
	lookup := cache.Lookup{ConsentSubject: consent, ReadSubject: read}
	return coalesce.Options{
		Call: call, Timeout: r.aspsp.Timeout, Counted: !r.q.Attended(), Lookup: lookup, Budget: budget,
	}
}

// Admit lets the request wait for a call. It fails with Overloaded.
func (r *providerRead) Admit(ctx context.Context) (leave func(), failure *canonical.Error) {
	return r.g.admitWaiter(ctx, r.aspsp, r.client)
}

// call makes the read, unless what is remembered excludes it. The result has no entry.
func (r *providerRead) call(ctx context.Context, fetch func(ctx context.Context) error) cache.CallResult {
	if result, excluded := r.excluded(ctx); excluded {
		return result
	}
	var tracker *unattended.Tracker
	if !r.q.Attended() {
		ctx, tracker = unattended.Track(ctx)
	}
	ctx, calls := providers.CountCalls(ctx)
	failure := r.g.callProvider(ctx, r.aspsp, r.client, r.q, func() error { return fetch(ctx) })
	result := cache.CallResult{Failure: failure, Invalidate: failure != nil && consentRejected(failure)}
	if tracker != nil {
		if usage, known := tracker.Usage(); known {
			result.Usage = &usage
		}
	}
	if failure != nil && failure.Slots != nil {
		result.Failure = r.pagesDoNotFit(ctx, failure)
	}
	result.Learned = r.learned(result.Failure, int(calls.Load()))
	return result
}

// excluded returns the result of an unattended read that must not be started.
func (r *providerRead) excluded(ctx context.Context) (result cache.CallResult, excluded bool) {
	switch {
	case r.q.Attended():
		return cache.CallResult{}, false
	case r.memory.RefusedWith != "":
		return cache.CallResult{Failure: canonical.NewError(r.memory.RefusedWith, "the bank refused it without the user within the last hour")}, true
	case r.account != "" || r.memory.Pages <= 1:
		return cache.CallResult{}, false
	}
	pages := r.memory.Pages
	if r.usage != nil {
		if usage, err := r.usage.Wait(ctx); err == nil && usage.Remaining >= pages {
			return cache.CallResult{}, false
		}
	}
	usage, wait, err := r.g.Counter.Fits(ctx, r.counterCall(), pages)
	if fits := err != nil || usage.Remaining >= pages; fits { // if the counter does not respond, the take decides
		return cache.CallResult{}, false
	}
	failure := notEnoughSlots(canonical.SlotNeed{Needed: pages, Remaining: usage.Remaining}, usage.Limit, wait)
	return cache.CallResult{Failure: failure, Usage: &usage}, true
}

// pagesDoNotFit returns the failure of a list that was not read completely because its pages exceed
// the remaining slots.
func (r *providerRead) pagesDoNotFit(ctx context.Context, failure *canonical.Error) *canonical.Error {
	usage, wait, err := r.g.Counter.Fits(context.WithoutCancel(ctx), r.counterCall(), failure.Slots.Needed)
	if err != nil {
		return failure
	}
	return notEnoughSlots(*failure.Slots, usage.Limit, wait)
}

func (r *providerRead) counterCall() unattended.Call {
	return unattended.Call{ASPSP: r.q.ASPSP, Consent: r.q.Consent, Account: r.account}
}

// notEnoughSlots returns the failure of a list whose pages need more slots than are left. wait is
// the time until enough are free. If the limit is lower than the number of pages, only an attended
// request can read the list.
func notEnoughSlots(need canonical.SlotNeed, limit int, wait time.Duration) *canonical.Error {
	failure := canonical.NewError(canonical.UnattendedLimit, "the list has more pages than calls are left")
	failure.Slots, failure.RetryAfter = &need, max(wait, time.Second)
	if need.Needed > limit {
		failure.Detail, failure.RetryAfter = "the list has more pages than the limit allows calls: only a call with the user can read it", 0
	}
	return failure
}

// learned returns what the outcome of a read shows about later ones.
func (r *providerRead) learned(failure *canonical.Error, calls int) cache.Learned {
	list := r.account == ""
	switch {
	case failure == nil && list && calls > 0 && max(calls, 1) != max(r.memory.Pages, 1):
		return cache.Learned{Accepted: r.q.Attended(), Pages: calls}
	case failure == nil:
		return cache.Learned{Accepted: r.q.Attended()}
	case failure.Slots != nil:
		return cache.Learned{Pages: failure.Slots.Needed}
	case failure.Origin == canonical.OriginGateway || !isRefusal(failure.Kind):
		return cache.Learned{}
	}
	var learned cache.Learned
	if consentRejected(failure) {
		learned.Pages = -1
	}
	if !r.q.Attended() { // attended calls take no slot: refusals of invented consents could fill Redis
		learned.Subject, learned.RefusedWith = subject(r.q, ""), failure.Kind
		if failure.Kind == canonical.AccountUnknown {
			learned.Subject = subject(r.q, r.account)
		}
	}
	return learned
}

// isRefusal reports whether the ASPSP refused the consent or the account, so that the next
// unattended call would be refused too.
func isRefusal(k canonical.Kind) bool {
	return k == canonical.ConsentExpired || k == canonical.ConsentInvalid || k == canonical.AccountUnknown
}

// subject returns a hash of the user's token and an account, for names and values in Redis. It
// includes the consent, which is not in Redis: without it, an account number could be found by
// hashing all numbers.
func subject(q canonical.Query, account string) string {
	text := make([]byte, 0, 512)
	text = append(strconv.AppendQuote(text, canonical.NormalizeID(q.Consent)), ' ')
	text = append(strconv.AppendQuote(text, q.Token.Reveal()), ' ')
	hash := sha256.Sum256(strconv.AppendQuote(text, account))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
