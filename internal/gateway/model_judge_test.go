package gateway_test

import (
	"context"
	"time"

	"pgregory.net/rapid"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/unattended"
)

// How the model test judges: by the bank's record alone, and by what Redis says is used.

// clockSlack is by how much Redis's clock and ours may be read apart.
func clockSlack() time.Duration { return scaled(20) }

// book notes what an act may have cost beyond the calls that the bank recorded, and judges what callers were told.
func (h *history) book(t *rapid.T, s scene, a act, connections int, reads []read, outcomes []outcome) {
	now := time.Now()
	calls := h.moody.ledger.Calls()[a.first:]
	unanswered := connections
	came := map[string]int{}
	for _, c := range calls {
		if !c.Attended {
			unanswered--
			came[h.unitOf(c)]++
		}
	}
	costs, comebacks, told, sent := map[string]int{}, map[string]int{}, map[string]bool{}, map[string]int{}
	for i, r := range reads {
		o := outcomes[i]
		h.note("%s, the bank %s: %q after %v", r, s.mood, o.kind, o.to.Sub(o.from).Round(100*time.Microsecond))
		if r.attended {
			if h.mustWork(s, r) && o.kind != "" && !h.slow(o) {
				h.fail(t, "an attended read failed", "%s", o.kind)
			}
			if s.redis && h.down && o.kind == "" {
				h.w.run.count("attended without Redis")
			}
			continue
		}
		unit := h.unit(h.call(r))
		h.units[unit], h.touched[unit] = h.call(r), h.call(r)
		costs[unit] += 0
		if s.mood.refuses() {
			h.shut[unit] = now.Add(2*h.bank.Unattended.Window + slowest(h.timeout)) // a gateway may tell of it later
		}
		switch {
		case s.crashed == r.at:
			costs[unit]++
		case s.without == r.at, s.redis, o.blind, o.kind == canonical.Canceled:
			comebacks[unit]++ // nobody knows of a caller who went away whether his call had the counter's answer
		}
		if o.kind == canonical.ProviderTimeout || o.kind == canonical.ProviderError || o.vague && s.mood != deaf {
			sent[unit]++ // as far as the gateway can know: the kernel makes connections which the relay never sees
		}
		if o.blind && s.without == nil && !s.redis && s.crashed != r.at {
			h.slow(o)
		}
		if o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP && s.crashed != r.at {
			told[unit] = true
		}
		h.judgeOutcome(t, s, a, r, o, len(reads) == 1)
	}
	for unit, n := range costs {
		h.extra[unit] = append(h.extra[unit], lost{from: a.began, at: now, n: n + max(unanswered, sent[unit]-came[unit], 0)}, lost{from: a.began, at: now.Add(slowest(h.timeout)), n: comebacks[unit], comeback: true})
	}
	if s.mood.refuses() && s.without == nil && !s.redis {
		h.close(calls, told, now)
	}
}

// judgeOutcome holds that no unattended call is made without the counter.
func (h *history) judgeOutcome(t *rapid.T, s scene, a act, r read, o outcome, alone bool) {
	refused := o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP
	if until, ok := r.at.closed[h.unit(h.call(r))]; ok && alone && o.to.Before(until) && (refused || o.kind == "" && !o.cached) {
		h.fail(t, "a gateway forgot that the bank had closed the unit", "%s", o.kind)
	}
	if refused {
		r.at.closed[h.unit(h.call(r))] = o.from.Add(h.bank.Unattended.Window)
	}
	if len(h.outages) == 0 || !s.redis || s.crashed == r.at {
		return
	}
	// An act that began before may have a call under way, whose answer others share.
	if out := h.outages[len(h.outages)-1]; out.until.IsZero() && a.began.After(out.from) {
		h.w.run.count("refused without Redis")
		if !o.blind && o.kind != canonical.Canceled {
			h.fail(t, "an unattended read was not refused without Redis", "%s", o.kind)
		}
	}
}

// close notes which units the bank has closed in an act, as far as a caller was told so. It closes them when the first
// of the calls arrives at the earliest, for a window: so long is every wait that is asked for here.
func (h *history) close(calls []aspspsim.Call, told map[string]bool, now time.Time) {
	for _, c := range calls {
		unit := h.unitOf(c)
		if c.Attended || !told[unit] {
			continue
		}
		told[unit] = false
		h.closures = append(h.closures, closure{unit, now, c.At.Add(h.bank.Unattended.Window)})
		h.w.run.count("closures")
	}
}

// check holds what must hold whenever nothing is under way.
func (h *history) check(t *rapid.T) {
	h.w.run.count("actions")
	calls := h.moody.ledger.Calls()
	arrived := map[string][]time.Time{}
	for _, c := range calls {
		if !c.Attended {
			unit := h.unitOf(c)
			arrived[unit] = append(arrived[unit], c.At)
		}
	}
	policy := h.bank.Unattended
	for unit, at := range arrived {
		for i := policy.Limit; i < len(at); i++ {
			first := at[i-policy.Limit]
			if d := at[i].Sub(first); d < policy.Window-policy.Window/10-h.w.run.stalls.lag(first.Add(-h.timeout), first) {
				h.fail(t, "more unattended calls in a window than the limit", "%d within %v", policy.Limit+1, d)
			}
		}
		for _, a := range at {
			h.judgeArrival(t, unit, a)
		}
	}
	for unit, call := range h.touched {
		h.judgeUsed(t, unit, call, calls)
	}
	clear(h.touched)
	h.w.run.stalls.breathe()
}

func (h *history) judgeArrival(t *rapid.T, unit string, at time.Time) {
	stall := h.w.run.stalls.lag(at.Add(-h.timeout), at)
	for _, c := range h.closures {
		if c.unit == unit && at.After(c.from.Add(stall)) && at.Before(c.until.Add(-clockSlack())) {
			h.fail(t, "an unattended call of a unit that the bank had closed", "%v before its time", c.until.Sub(at))
		}
	}
	for _, o := range h.outages {
		if at.After(o.from.Add(h.timeout+stall+clockSlack())) && (o.until.IsZero() || at.Before(o.until)) {
			h.fail(t, "an unattended call without Redis", "")
		}
	}
}

// judgeUsed holds that all calls of a unit are counted, and nothing else but what may have been lost.
func (h *history) judgeUsed(t *rapid.T, unit string, call unattended.Call, calls []aspspsim.Call) {
	if h.down {
		return
	}
	life := h.bank.Unattended.Window + h.timeout
	before := time.Now()
	state := h.state(t, h.judge, call)
	after := time.Now()
	if most := h.most(unit, calls, before.Add(-life-clockSlack()), true); state.Used > most {
		h.fail(t, "slots were lost of calls that were surely not sent", "%d used, at most %d calls", state.Used, most)
	}
	if free := h.bank.Unattended.Limit - state.Used; state.Remaining != max(free, 0) && after.After(h.shut[unit].Add(clockSlack())) {
		h.fail(t, "a unit is closed although the bank did not say so", "%+v", state)
	}
	if least := h.least(unit, after.Add(-life+clockSlack())); state.Used < least {
		h.fail(t, "a call that was sent is not counted", "%d used, at least %d calls", state.Used, least)
	}
}

// slowest is by how much a counter that is too slow is late: its step may be taken when the act is over.
func slowest(timeout time.Duration) time.Duration { return timeout + scaled(20) }

// state reads where a unit stands, past all that goes wrong. Without Redis it is nowhere.
func (h *history) state(t *rapid.T, c *unattended.Counter, call unattended.Call) unattended.Usage {
	if h.down {
		return unattended.Usage{}
	}
	for try := 1; ; try++ {
		state, err := c.Usage(context.Background(), call)
		if err == nil {
			return state
		}
		if try == 60 { // each has a second
			h.fail(t, "Redis does not answer", "%v", err)
		}
	}
}

// most is how many slots of a unit may stand that were taken since a moment.
func (h *history) most(unit string, calls []aspspsim.Call, since time.Time, comebacks bool) int {
	n := 0
	for _, c := range calls {
		if !c.Attended && h.unitOf(c) == unit && c.At.After(since) {
			n++
		}
	}
	for _, l := range h.extra[unit] {
		if l.at.After(since) && (comebacks || !l.comeback) {
			n += l.n
		}
	}
	return n
}

// least is how many of a unit's calls were surely counted since a moment: those of acts that began later.
func (h *history) least(unit string, since time.Time) int {
	n := 0
	for _, a := range h.moody.arrivals() {
		if h.unit(a.call) == unit && h.acts[a.act].began.After(since) {
			n++
		}
	}
	return n
}

// comeback reports whether a slot of the unit may be given back at any moment.
func (h *history) comeback(unit string) bool {
	since := time.Now().Add(-h.bank.Unattended.Window - h.timeout - clockSlack())
	for _, l := range h.extra[unit] {
		if l.comeback && l.n > 0 && l.at.After(since) {
			return true
		}
	}
	return false
}

// settle waits until slots have been given back whose step had no answer, or are too old to be seen, and tells which.
func (h *history) settle(t *rapid.T) {
	for unit, call := range h.units {
		for waited := false; ; waited = true {
			now := time.Now()
			state := h.state(t, h.wide, call)
			seen, ok := h.seen(unit, now)
			if !ok {
				break
			}
			if state.Used <= h.most(unit, h.moody.ledger.Calls(), now.Add(-h.life()-clockSlack()), false) {
				if waited {
					h.w.run.count("slots given back later")
				}
				break
			}
			if now.After(seen) {
				h.w.run.count("slots kept for nothing")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// life is for how long the wide counter sees a slot.
func (h *history) life() time.Duration { return 2*h.bank.Unattended.Window + h.timeout }

// seen is until when every slot of the unit can be seen that may come back; false if there is none.
func (h *history) seen(unit string, now time.Time) (until time.Time, ok bool) {
	for _, l := range h.extra[unit] {
		if end := l.from.Add(h.life() - clockSlack()); l.comeback && l.n > 0 && end.After(now.Add(-clockSlack())) && (!ok || end.Before(until)) {
			until, ok = end, true
		}
	}
	return until, ok
}
