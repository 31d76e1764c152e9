package audit_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"ais-gateway/internal/audit"
	"ais-gateway/internal/event"
	"ais-gateway/internal/output"
)

// BenchmarkWrite writes the record of a cached list through a queue, in a batch with few others.
func BenchmarkWrite(b *testing.B) {
	q := output.New(output.Config{To: io.Discard, Room: 4 << 20})
	l := audit.Open(audit.Config{
		Queue: q, Key: bytes.Repeat([]byte{7}, 32), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		TraceIDs: func(context.Context) ([16]byte, [8]byte) { return [16]byte{1}, [8]byte{2} },
	})
	no := false
	r := event.Request{
		Start: time.Now(), Method: "GET", Route: "/v1/aspsps/{aspspId}/accounts", Status: 200, Client: "payments-team", IdentifiedBy: "api_key",
		ASPSP: bank, Provider: "mastercard", Cache: "hit", Duration: 3 * time.Millisecond, RequestID: "bc66cb27-62a3-4bd0-a036-df1fbce8a044",
		Attended: &no, RequestedASPSP: bank, Consent: consent,
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Write(b.Context(), r)
		runtime.Gosched() // as at the end of a request, so that the queue is written
	}
	if err := q.Close(); err != nil || l.State().Failures > 0 {
		b.Errorf("%v, %d records lost", err, l.State().Failures)
	}
}
