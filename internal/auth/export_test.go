package auth

import "time"

// WithLongTimeouts sets timeouts that are long enough for a slow machine.
func WithLongTimeouts(c *Authenticator) {
	for _, i := range c.issuers {
		i.waitTimeout, i.keys.timeout = time.Minute, time.Minute
	}
}

// WithoutTimeouts sets timeouts that are longer than any test, so that an unexpected wait blocks
// the test.
func WithoutTimeouts(c *Authenticator) {
	for _, i := range c.issuers {
		i.waitTimeout, i.keys.timeout = time.Hour, time.Hour
	}
}

// LimiterCount returns the number of token buckets.
func LimiterCount(c *Authenticator) int {
	c.limiters.mu.Lock()
	defer c.limiters.mu.Unlock()
	return len(c.limiters.byClient)
}
