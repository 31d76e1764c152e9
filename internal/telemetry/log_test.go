package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/event"
)

// records is a log exporter that keeps attributes as text.
type records struct{ got []map[string]any }

func (r *records) Export(_ context.Context, all []sdklog.Record) error {
	for _, one := range all {
		record := map[string]any{
			"body": one.Body().AsString(), "severity": one.SeverityText(), "trace": one.TraceID().String(),
		}
		service, _ := one.Resource().Set().Value("service.name")
		record["service"] = service.AsString()
		one.WalkAttributes(func(a attribute.KeyValue) bool {
			record[string(a.Key)] = a.Value.String()
			return true
		})
		r.got = append(r.got, record)
	}
	return nil
}
func (*records) Shutdown(context.Context) error   { return nil }
func (*records) ForceFlush(context.Context) error { return nil }

func TestLogRecordsEqualLogLines(t *testing.T) {
	exp := &records{}
	tel, _, out := inMemory(t, exporters{logs: exp})
	ctx, end := tel.Request(t.Context(), "GET", hostile())
	tel.Logger().With("client", "c").ErrorContext(ctx, "went wrong", "warnings", []string{"a", "b"}, "attended", true, "status", 7)
	tel.Logger().DebugContext(ctx, "below the level")
	id := trace.SpanContextFromContext(ctx).TraceID().String()
	end(event.Request{Status: 200})
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"body": "went wrong", "severity": "ERROR", "trace": id, "service": "ais-gateway", "client": "c",
		"warnings": `["a","b"]`, "attended": "true", "status": "7",
	}}
	if diff := cmp.Diff(want, exp.got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatal(err)
	}
	if line["trace_id"] != id || line["msg"] != "went wrong" || line["client"] != "c" || strings.Contains(out.String(), canary) {
		t.Errorf("line %s", out)
	}
}

func TestLinesOutsideTracesHaveNoIDs(t *testing.T) {
	tel, _, out := inMemory(t, exporters{})
	tel.Logger().Info("started")
	if strings.Contains(out.String(), "_id") {
		t.Errorf("line %s", out)
	}
}

func TestErrorsAreLoggedOnceAMinute(t *testing.T) {
	now, out := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), &logOutput{}
	f := newErrorHandler(slog.New(localLog(options(out))))
	f.throttle.Now = func() time.Time { return now }
	for _, step := range []struct {
		after  time.Duration
		err    error
		logged string // "" for silence
	}{
		{0, &net.OpError{Op: "dial", Err: errors.New(canary)}, `"cause":"unreachable","silenced":0`},
		{time.Second, errors.New(canary), ""},
		{58 * time.Second, errors.New(canary), ""},
		{time.Second, fmt.Errorf("%s: %w", canary, context.DeadlineExceeded), `"cause":"timeout","silenced":2`},
		{59 * time.Second, errors.New(canary), ""},
		{2 * time.Hour, &net.DNSError{Name: canary}, `"cause":"name_unknown","silenced":1`},
		{time.Minute, errors.New(canary), `"cause":"other","silenced":0`},
		{time.Minute, context.Canceled, `"cause":"canceled","silenced":0`},
	} {
		before := len(out.String())
		now = now.Add(step.after)
		f.Handle(step.err)
		got := out.String()[before:]
		if (got == "") != (step.logged == "") || !strings.Contains(got, step.logged) || strings.Contains(got, canary) {
			t.Errorf("at %s logged %q, want %q", now.Format(time.TimeOnly), got, step.logged)
		}
	}
}
