package auth

import "time"

// Patient lets requests wait as long as a slow machine may need.
func Patient(c *Authenticator) {
	for _, i := range c.issuers {
		i.patience, i.keys.timeout = time.Minute, time.Minute
	}
}

// Endless lets requests and readings wait for longer than any test takes, so that a wait that should not be is seen.
func Endless(c *Authenticator) {
	for _, i := range c.issuers {
		i.patience, i.keys.timeout = time.Hour, time.Hour
	}
}

// Buckets is how many token buckets there are.
func Buckets(c *Authenticator) int {
	c.buckets.mu.Lock()
	defer c.buckets.mu.Unlock()
	return len(c.buckets.all)
}
