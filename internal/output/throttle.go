package output

import (
	"sync"
	"time"
)

// A Throttle limits how often an event is logged. It is safe for concurrent use.
type Throttle struct {
	Every time.Duration // the minimum time between two log lines
	Now   func() time.Time

	mu         sync.Mutex
	last       time.Time
	suppressed int64
}

// Allow reports whether n events may be logged now. If so, it returns how many events were not
// logged since the last line; otherwise it adds n to that number.
func (t *Throttle) Allow(n int64) (suppressed int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	if !t.last.IsZero() && now.Sub(t.last) < t.Every {
		t.suppressed += n
		return 0, false
	}
	suppressed = t.suppressed
	t.last, t.suppressed = now, 0
	return suppressed, true
}
