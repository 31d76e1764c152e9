package upstream

import "math"

// RetryAfter exports retryAfter.
var RetryAfter = retryAfter

// ExhaustResendBudget prevents the Transport from sending calls again, so that only net/http does.
func (w *Transport) ExhaustResendBudget() *Transport {
	w.budget.mu.Lock()
	defer w.budget.mu.Unlock()
	w.budget.credit = math.MinInt
	return w
}
