package runner_test

import (
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/gateway"
)

// roundTrip is how long the simulators take for a response in BenchmarkRoundTrips.
const roundTrip = 200 * time.Millisecond

// BenchmarkRoundTrips: twenty banks with three accounts each, of which each takes 200 ms for a
// response. It reports how many of these an aggregation takes.
func BenchmarkRoundTrips(b *testing.B) {
	for name, bulk := range map[string]bool{"one-by-one": false, "one-call": true} {
		b.Run(name, func(b *testing.B) {
			f, p := benchmarkFixture(b, bulk)
			f.handle(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(roundTrip)
				f.pass(w, r)
			})
			for n := 0; b.Loop(); n++ {
				p.aggregate(request(f.sources(n)...))
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/roundTrip.Seconds(), "roundtrips")
		})
	}
}

// BenchmarkCPU: the CPU time of a source of an aggregation, and that of the same reads as single
// requests. Both include the simulator's.
func BenchmarkCPU(b *testing.B) {
	const sources = 20
	for name, read := range map[string]func(*testing.B, *process, []aggregation.Source){
		"aggregation": func(_ *testing.B, p *process, sources []aggregation.Source) { p.aggregate(request(sources...)) },
		"single": func(b *testing.B, p *process, sources []aggregation.Source) {
			for _, s := range sources {
				if _, err := p.Accounts(b.Context(), client, s.Query, gateway.CacheControl{}); err != nil {
					b.Fatal(err)
				}
				for _, account := range berlinGroupAccounts {
					if _, err := p.Balances(b.Context(), client, s.Query, account); err != nil {
						b.Fatal(err)
					}
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			f, p := benchmarkFixture(b, false)
			before := cpuTime(b)
			for n := 0; b.Loop(); n++ {
				read(b, p, f.sources(n))
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N*sources), "cpu-µs/source")
		})
	}
}

func benchmarkFixture(b *testing.B, bulk bool) (*fixture, *process) {
	b.Helper()
	f := newFixture(b, 0)
	for range 20 {
		f.addBank("berlingroup", bulk)
	}
	return f, f.process()
}

// sources returns an unattended source at each bank, with a consent of the iteration.
func (f *fixture) sources(iteration int) []aggregation.Source {
	all := make([]aggregation.Source, len(f.banks))
	for i, b := range f.banks {
		all[i] = b.source(threeAccounts + strconv.Itoa(iteration))
	}
	return all
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
