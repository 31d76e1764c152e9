//go:build measure

package gateway_test

import "testing"

// measureFailovers measures how many calls beyond four are made because a failover lost slots. It
// calls row for each result.
func measureFailovers(t *testing.T, row func(what, format string, measured ...any)) {
	for _, c := range []struct {
		name         string
		waitReplicas int
		disconnect   bool
	}{
		{"primary killed, `waitReplicas: 0`", 0, false},
		{"primary killed, `waitReplicas: 1`", 1, false},
		{"primary cut off from both replicas for 0.3 s and then killed, `waitReplicas: 0`", 0, true},
		{"the same, `waitReplicas: 1`", 1, true},
	} {
		const times = 5
		calls, over := failOver(t, times, c.waitReplicas, c.disconnect)
		row("Sentinel failover, "+c.name, "%d calls beyond four (%.1f %% of all %d) over %d failovers", over, 100*float64(over)/float64(calls), calls, times)
	}
}
