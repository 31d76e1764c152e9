package cache

// Confirmed reports whether Redis has confirmed who holds the lease.
func (l Lease) Confirmed() bool { return !l.grantedAt.IsZero() }
