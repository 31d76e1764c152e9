package unattended

// Note has a call's unit told of, as Take does.
func Note(u *UnitStats, call Call) { u.note(New(nil, u.policies).key(call)) }
