package upstream

import "math"

// RetryAfter exports retryAfter.
var RetryAfter = retryAfter

// ExhaustResendAllowance prevents the Transport from sending calls again, so that only net/http
// does.
func (t *Transport) ExhaustResendAllowance() *Transport {
	t.allowance.mu.Lock()
	defer t.allowance.mu.Unlock()
	t.allowance.credit = math.MinInt
	return t
}
