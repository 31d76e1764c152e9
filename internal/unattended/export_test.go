package unattended

// AddUpdate updates the unit of a call, as a take does.
func AddUpdate(u *UnitStats, call Call) {
	u.update((&Counter{policies: u.policies}).key(call), stateEnds{1, 1}, false)
}
