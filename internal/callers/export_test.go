package callers

import "time"

// Patient lets requests wait as long as a slow machine may need.
func Patient(c *Callers) {
	for _, i := range c.issuers {
		i.patience, i.keys.timeout = time.Minute, time.Minute
	}
}

// Buckets is how many token buckets there are.
func Buckets(c *Callers) int {
	c.buckets.mu.Lock()
	defer c.buckets.mu.Unlock()
	return len(c.buckets.all)
}
