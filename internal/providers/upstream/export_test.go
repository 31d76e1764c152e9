package upstream

import "math"

// RetryAfter is retryAfter.
var RetryAfter = retryAfter

// Exhaust takes from a wire all that it may send calls again with, now and later, so that what is sent again net/http
// sends by itself.
func (w *Transport) Exhaust() *Transport {
	w.budget.mu.Lock()
	defer w.budget.mu.Unlock()
	w.budget.left = math.MinInt
	return w
}
