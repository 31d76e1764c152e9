package repeat

import (
	"time"

	"ais-gateway/internal/aggregation"
)

// PassTime shortens the waits of a result that was stored at a time.
func PassTime(r aggregation.SourceResult, at time.Time) {
	s := stored{SourceResult: r, At: at}
	s.passTime()
}
