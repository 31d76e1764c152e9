package compare_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// slice is what a second of load on one server has cost.
type slice struct {
	responses int
	took      time.Duration // the whole slice
	cpu       time.Duration // of the server
	redis     time.Duration // CPU time of Redis
	p99       time.Duration // 99th percentile of the latency
	memory    float64       // of the server in MB, resident
	foreign   float64       // the share of the machine that other programs used
}

// cpuEach returns the CPU time of the server for one response in µs.
func (s slice) cpuEach() float64 { return micros(s.cpu) / float64(s.responses) }

// redisEach returns the CPU time of Redis for one response in µs.
func (s slice) redisEach() float64 { return micros(s.redis) / float64(s.responses) }

func (s slice) memoryMB() float64 { return s.memory }

func (s slice) foreignShare() float64 { return s.foreign }

// rate returns the number of responses in a second.
func (s slice) rate() float64 { return float64(s.responses) / s.took.Seconds() }

func (s slice) latency() float64 { return micros(s.p99) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// paired is a slice of the subject, between two of the base: what drifts on the machine changes the
// base as well.
type paired struct{ before, subject, after slice }

// ratio returns a value of the subject, divided by its mean in the two slices of the base.
func (p paired) ratio(of func(slice) float64) float64 {
	return of(p.subject) / ((of(p.before) + of(p.after)) / 2)
}

// spread is the distribution of a value over all slices.
type spread struct{ lower, median, upper float64 } // the quartiles

// spreadOf returns the spread of a value of each element.
func spreadOf[T any](elements []T, value func(T) float64) spread {
	sorted := make([]float64, len(elements))
	for i, e := range elements {
		sorted[i] = value(e)
	}
	slices.Sort(sorted)
	return spread{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// ratios returns the spread of the ratio of a value.
func ratios(pairs []paired, of func(slice) float64) spread {
	return spreadOf(pairs, func(p paired) float64 { return p.ratio(of) })
}

// quantile returns the quantile q of sorted values, interpolated between the two next to it; NaN if
// there are no values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	position := q * float64(len(sorted)-1)
	below := int(position)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (position-float64(below))*(sorted[above]-sorted[below])
}

// String returns the median and the interquartile range.
func (s spread) String() string {
	return fmt.Sprintf("%s [%s–%s]", significant(s.median), significant(s.lower), significant(s.upper))
}

// significant returns a number with at least three significant digits, and at most two decimals.
func significant(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{4}, spread{4, 4, 4}},
		{[]float64{3, 1}, spread{1.5, 2, 2.5}},
		{[]float64{5, 1, 2, 4, 3}, spread{2, 3, 4}},
		{[]float64{40, 10, 30, 20}, spread{17.5, 25, 32.5}},
	} {
		if got := spreadOf(tt.values, func(v float64) float64 { return v }); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.values, got, tt.want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
	if got, want := (spread{0.5, 9.876, 123.4}).String(), "9.88 [0.50–123]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRatios: the CPU time of a response is compared, not that of a slice, with the mean of the
// slices before and after it.
func TestRatios(t *testing.T) {
	base := func(cpu time.Duration) slice {
		return slice{responses: 1000, took: time.Second, cpu: cpu, redis: 20 * time.Millisecond, p99: 2 * time.Millisecond, memory: 20, foreign: 0.1}
	}
	subject := slice{
		responses: 500, took: 2 * time.Second, cpu: 300 * time.Millisecond, redis: 15 * time.Millisecond, p99: 5 * time.Millisecond,
		memory: 50, foreign: 0.05,
	}
	pairs := []paired{
		{base(100 * time.Millisecond), subject, base(300 * time.Millisecond)},
		{base(200 * time.Millisecond), subject, base(400 * time.Millisecond)},
		{base(600 * time.Millisecond), subject, base(600 * time.Millisecond)},
	}
	for name, tt := range map[string]struct {
		of   func(slice) float64
		want spread
	}{
		"CPU":     {slice.cpuEach, spread{1.5, 2, 2.5}},
		"Redis":   {slice.redisEach, spread{1.5, 1.5, 1.5}},
		"rate":    {slice.rate, spread{0.25, 0.25, 0.25}},
		"latency": {slice.latency, spread{2.5, 2.5, 2.5}},
		"memory":  {slice.memoryMB, spread{2.5, 2.5, 2.5}},
		"foreign": {slice.foreignShare, spread{0.5, 0.5, 0.5}},
	} {
		if got := ratios(pairs, tt.of); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}
