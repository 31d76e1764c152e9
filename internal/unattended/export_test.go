package unattended

import "time"

// AddUpdate updates the unit of a call, as a take does.
func AddUpdate(u *UnitStats, call Call) {
	u.update((&Counter{policies: u.policies}).key(call), unitUpdate{ends: stateEnds{1, 1}})
}

// AddStep updates the unit of a call after a step at a time by Redis's clock. Afterwards the unit
// has no call left until end, or is in no state if end is zero. released says that the step
// released a slot.
func AddStep(u *UnitStats, call Call, at, end time.Time, released bool) {
	update := unitUpdate{at: at.UnixMicro(), released: released}
	if !end.IsZero() {
		update.ends = stateEnds{end.UnixMicro(), end.UnixMicro()}
	}
	u.update((&Counter{policies: u.policies}).key(call), update)
}

// ExchangeEvery sets how long updates wait, and how long counts are reused.
func (u *UnitStats) ExchangeEvery(d time.Duration) *UnitStats {
	u.every = d
	return u
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
