package telemetry

import (
	"io"
	"testing"
	"time"

	"ais-gateway/internal/event"
)

// BenchmarkRequestLine writes the log line of a request that has no audit record on standard
// output.
func BenchmarkRequestLine(b *testing.B) {
	o := options(io.Discard)
	tel, err := build(b.Context(), o, exporters{}, localLog(o))
	if err != nil {
		b.Fatal(err)
	}
	no := false
	r := event.Request{
		Start: time.Now(), Method: "GET", Route: "/v1/aspsps/{aspspId}/accounts", Status: 200, Client: "payments-team", IdentifiedBy: "api_key",
		ASPSP: bank, Provider: "mastercard", Cache: "hit", Duration: 3 * time.Millisecond, RequestID: "bc66cb27-62a3-4bd0-a036-df1fbce8a044",
		Attended: &no,
	}
	ctx, span := tel.tracer.Start(b.Context(), "GET")
	defer span.End()
	b.ReportAllocs()
	for b.Loop() {
		tel.Logger().LogAttrs(ctx, r.Level(), "request", r.Attrs()...)
	}
}
