package unattended

import (
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/unattended/unitstats"
)

// unitOf returns the unit of a call to an ASPSP that counts by consent.
func unitOf(call Call) unitstats.Unit {
	byConsent := map[string]config.Unattended{call.ASPSP: {Unit: config.UnitConsent}}
	return (&Counter{policies: byConsent}).key(call).unit()
}

// AddUpdate updates the unit of a call, as a take does.
func AddUpdate(u *unitstats.Stats, call Call) {
	u.Update(unitOf(call), unitstats.Update{Ends: unitstats.Ends{1, 1}})
}

// AddStep updates the unit of a call after a step at a time by Redis's clock. Afterwards the unit
// has no call left until end, or is in no state if end is zero. released says that the step
// released a slot.
func AddStep(u *unitstats.Stats, call Call, at, end time.Time, released bool) {
	update := unitstats.Update{At: at.UnixMicro(), Released: released}
	if !end.IsZero() {
		update.Ends = unitstats.Ends{end.UnixMicro(), end.UnixMicro()}
	}
	u.Update(unitOf(call), update)
}

// Age makes the slots of a reservation older that no call has used, as if time had passed in this
// process.
func (r *Reservation) Age(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, unit := range r.units {
		for i := range unit.unused {
			s := &unit.unused[i]
			s.at, s.SendUntil = s.at.Add(-d), s.SendUntil.Add(-d)
		}
	}
}
