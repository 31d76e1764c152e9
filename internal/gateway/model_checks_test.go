package gateway_test

import (
	"context"
	"time"

	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/unattended"
)

// Checks of the model test: they use the ASPSP's call log and the usage in Redis, and no usage of
// the gateways.

// clockSlack is the largest difference between a reading of Redis's clock and one of ours.
func clockSlack() time.Duration { return scaled(20) }

// recordRound records the slots that a round may have taken beyond the calls in the call log, and
// checks the results.
func (h *history) recordRound(t *rapid.T, s conditions, a round, connections int, reads []read, outcomes []readResult) {
	now := time.Now()
	calls := h.provider.callLog.Calls()[a.first:]
	unanswered := connections
	came := map[string]int{}
	for _, c := range calls {
		if !c.Attended {
			unanswered--
			came[h.unitOf(c)]++
		}
	}
	all := tally{costs: map[string]int{}, releasable: map[string]int{}, sent: map[string]int{}, reported: map[string]bool{}}
	costs, releasable, reported, sent := all.costs, all.releasable, all.reported, all.sent
	for i, r := range reads {
		o := outcomes[i]
		if r.aggregation != nil {
			h.recordAggregation(t, s, all, r, o)
			h.checkAggregation(t, s, r, o, unanswered)
			continue
		}
		h.log("%s, ASPSP: %s: %q after %v", r, s.behavior, o.kind, o.to.Sub(o.from).Round(100*time.Microsecond))
		if r.attended {
			if h.mustSucceed(s, r) && o.kind != "" && !h.machineWasSlow(o) {
				h.fail(t, "an attended read failed", "%s", o.kind)
			}
			if s.redisDown && h.down && o.kind == "" {
				h.w.run.count("attended without Redis")
			}
			continue
		}
		unit := h.unit(h.call(r))
		h.expect(s, all, h.call(r))
		switch {
		case s.crashing == r.at:
			costs[unit]++
		case s.counterDown == r.at, s.redisDown, o.withoutCounter, o.kind == canonical.Canceled:
			releasable[unit]++ // after a cancellation it is unknown whether the take got its response
		}
		if o.kind == canonical.ProviderTimeout || o.kind == canonical.ProviderError || o.failureHidden && s.behavior != refusesConnections {
			sent[unit]++ // the gateway may see connections of the kernel's that the proxy never accepts
		}
		if o.withoutCounter && s.counterDown == nil && !s.redisDown && s.crashing != r.at {
			h.machineWasSlow(o)
		}
		if o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP && s.crashing != r.at {
			reported[unit] = true
		}
		h.checkOutcome(t, s, a, r, o, len(reads) == 1)
	}
	for unit, n := range costs {
		h.extra[unit] = append(h.extra[unit], lostSlots{from: a.began, until: now, n: n + max(unanswered, sent[unit]-came[unit], 0)}, lostSlots{from: a.began, until: now.Add(maxDelay(h.timeout)), n: releasable[unit], releasable: true})
	}
	if s.behavior.blocks() && s.counterDown == nil && !s.redisDown {
		h.recordBlocks(calls, reported, now)
	}
}

// A tally has what the reads of a round have done to units: slots that may be taken without a call,
// of which some may be released later, calls that were sent, and refusals by the ASPSP.
type tally struct {
	costs, releasable, sent map[string]int
	reported                map[string]bool
}

// expect records that a call may have been made in a round that ends now.
func (h *history) expect(s conditions, all tally, c unattended.Call) {
	unit := h.unit(c)
	h.requested[unit], h.unchecked[unit] = c, c
	all.costs[unit] += 0
	if s.behavior.blocks() {
		h.blockedUntil[unit] = time.Now().Add(2*h.aspsp.Unattended.Window + maxDelay(h.timeout)) // a gateway may write the block later
	}
}

// checkOutcome checks that a gateway keeps its blocks, and makes no unattended call without the
// counter.
func (h *history) checkOutcome(t *rapid.T, s conditions, a round, r read, o readResult, alone bool) {
	refused := o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP
	if until, ok := r.at.blockedUntil[h.unit(h.call(r))]; ok && alone && o.to.Before(until) && (refused || o.kind == "" && !o.cached) {
		h.fail(t, "a gateway lost the block of a unit", "%s", o.kind)
	}
	if refused {
		r.at.blockedUntil[h.unit(h.call(r))] = o.from.Add(h.aspsp.Unattended.Window)
	}
	if len(h.outages) == 0 || !s.redisDown || s.crashing == r.at {
		return
	}
	// A round that began before the outage may have a call in progress, whose response is shared.
	if out := h.outages[len(h.outages)-1]; out.until.IsZero() && a.began.After(out.from) {
		h.w.run.count("refused without Redis")
		if !o.withoutCounter && o.kind != canonical.Canceled && o.kind != canonical.Overloaded {
			h.fail(t, "an unattended read was not refused without Redis", "%s", o.kind)
		}
	}
}

// recordBlocks records the units that were blocked in a round and reported to a caller as blocked.
// A block begins when the first call arrives at the earliest, and lasts one window, since every
// Retry-After here is longer.
func (h *history) recordBlocks(calls []aspspsim.Call, reported map[string]bool, now time.Time) {
	for _, c := range calls {
		unit := h.unitOf(c)
		if c.Attended || !reported[unit] {
			continue
		}
		reported[unit] = false
		h.blocks = append(h.blocks, block{unit, now, c.At.Add(h.aspsp.Unattended.Window)})
		h.w.run.count("blocks")
	}
}

// check checks all invariants. No call may be in progress.
func (h *history) check(t *rapid.T) {
	h.w.run.count("actions")
	calls := h.provider.callLog.Calls()
	arrived := map[string][]time.Time{}
	for _, c := range calls {
		if !c.Attended {
			unit := h.unitOf(c)
			arrived[unit] = append(arrived[unit], c.At)
		}
	}
	policy := h.aspsp.Unattended
	for unit, at := range arrived {
		for i := policy.Limit; i < len(at); i++ {
			first := at[i-policy.Limit]
			if d := at[i].Sub(first); d < policy.Window-policy.Window/10-h.w.run.stalls.total(first.Add(-h.timeout), first) {
				h.fail(t, "more unattended calls in a window than the limit", "%d within %v", policy.Limit+1, d)
			}
		}
		for _, a := range at {
			h.checkArrival(t, unit, a)
		}
	}
	for unit, call := range h.unchecked {
		h.checkUsed(t, unit, call, calls)
	}
	clear(h.unchecked)
	h.w.run.stalls.waitWhileBusy()
}

func (h *history) checkArrival(t *rapid.T, unit string, at time.Time) {
	stall := h.w.run.stalls.total(at.Add(-h.timeout), at)
	for _, c := range h.blocks {
		if c.unit == unit && at.After(c.from.Add(stall)) && at.Before(c.until.Add(-clockSlack())) {
			h.fail(t, "an unattended call of a blocked unit", "%v before the end of the block", c.until.Sub(at))
		}
	}
	for _, o := range h.outages {
		if at.After(o.from.Add(h.timeout+stall+clockSlack())) && (o.until.IsZero() || at.Before(o.until)) {
			h.fail(t, "an unattended call without Redis", "")
		}
	}
}

// checkUsed checks that all calls of a unit are counted, and nothing but these and the lost slots.
func (h *history) checkUsed(t *rapid.T, unit string, call unattended.Call, calls []aspspsim.Call) {
	if h.down {
		return
	}
	life := h.aspsp.Unattended.Window + h.timeout
	before := time.Now()
	usage := h.usage(t, h.counter, call)
	after := time.Now()
	if most := h.maxUsed(unit, calls, before.Add(-life-clockSlack()), true); usage.Used > most {
		h.fail(t, "slots of calls that were certainly not sent were not released", "%d used, at most %d calls", usage.Used, most)
	}
	if free := h.aspsp.Unattended.Limit - usage.Used; usage.Remaining != max(free, 0) && after.After(h.blockedUntil[unit].Add(clockSlack())) {
		h.fail(t, "a unit is blocked without a reason", "%+v", usage)
	}
	if least := h.minUsed(unit, after.Add(-life+clockSlack())); usage.Used < least {
		h.fail(t, "a call that was sent is not counted", "%d used, at least %d calls", usage.Used, least)
	}
}

// maxDelay is the longest delay of a slow counter. Its step may be executed after the round.
func maxDelay(timeout time.Duration) time.Duration { return timeout + scaled(20) }

// usage returns the usage of a unit, read without a proxy. It is zero while Redis is down.
func (h *history) usage(t *rapid.T, c *unattended.Counter, call unattended.Call) unattended.Usage {
	if h.down {
		return unattended.Usage{}
	}
	for try := 1; ; try++ {
		usage, err := c.Usage(context.Background(), call)
		if err == nil {
			return usage
		}
		if try == 60 { // each takes up to a second
			h.fail(t, "Redis does not response", "%v", err)
		}
	}
}

// maxUsed returns how many slots of a unit may have been taken since a time.
func (h *history) maxUsed(unit string, calls []aspspsim.Call, since time.Time, releasable bool) int {
	n := 0
	for _, c := range calls {
		if !c.Attended && h.unitOf(c) == unit && c.At.After(since) {
			n++
		}
	}
	for _, l := range h.extra[unit] {
		if l.until.After(since) && (releasable || !l.releasable) {
			n += l.n
		}
	}
	return n
}

// minUsed returns how many calls of a unit were certainly counted since a time: those of rounds
// that began later.
func (h *history) minUsed(unit string, since time.Time) int {
	n := 0
	for _, a := range h.provider.arrivals() {
		if h.unit(a.call) == unit && h.rounds[h.roundOf(a.requestID)].began.After(since) {
			n++
		}
	}
	return n
}

// mayBeReleased reports whether a slot of the unit may still be released.
func (h *history) mayBeReleased(unit string) bool {
	since := time.Now().Add(-h.aspsp.Unattended.Window - h.timeout - clockSlack())
	for _, l := range h.extra[unit] {
		if l.releasable && l.n > 0 && l.until.After(since) {
			return true
		}
	}
	return false
}

// waitForReleases waits until all slots whose take had no response have been released or have
// expired, and counts both.
func (h *history) waitForReleases(t *rapid.T) {
	for unit, call := range h.requested {
		for waited := false; ; waited = true {
			now := time.Now()
			usage := h.usage(t, h.wideCounter, call)
			seen, ok := h.visibleUntil(unit, now)
			if !ok {
				break
			}
			if usage.Used <= h.maxUsed(unit, h.provider.callLog.Calls(), now.Add(-h.visibleFor()-clockSlack()), false) {
				if waited {
					h.w.run.count("slots released later")
				}
				break
			}
			if now.After(seen) {
				h.w.run.count("slots not released")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// visibleFor returns how long the counter with the double window counts a slot.
func (h *history) visibleFor() time.Duration { return 2*h.aspsp.Unattended.Window + h.timeout }

// visibleUntil returns until when every slot of the unit that may be released is counted, and false
// if there is no such slot.
func (h *history) visibleUntil(unit string, now time.Time) (until time.Time, ok bool) {
	for _, l := range h.extra[unit] {
		if end := l.from.Add(h.visibleFor() - clockSlack()); l.releasable && l.n > 0 && end.After(now.Add(-clockSlack())) && (!ok || end.Before(until)) {
			until, ok = end, true
		}
	}
	return until, ok
}
