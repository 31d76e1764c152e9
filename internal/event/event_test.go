package event_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/event"
)

func TestTotals(t *testing.T) {
	event.AddSlots(t.Context(), 1) // without totals nothing is counted
	event.AddWait(t.Context(), time.Second)
	var totals event.Totals
	ctx := event.WithTotals(t.Context(), &totals)
	event.AddSlots(ctx, 3)
	event.AddSlots(context.WithoutCancel(ctx), -1)
	event.AddWait(ctx, time.Second)
	event.AddWait(ctx, time.Millisecond)
	if totals.Slots() != 2 || totals.Waited() != 1001*time.Millisecond {
		t.Errorf("%d slots, %s", totals.Slots(), totals.Waited())
	}
}

// The consent id must not appear in text, whichever way a Request is printed or logged.
func TestConsentIsHidden(t *testing.T) {
	r := event.Request{RequestID: "r", Consent: "canary"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).LogAttrs(t.Context(), r.Level(), "request", append(r.Attrs(), slog.Any("all", r))...)
	if text := log.String() + fmt.Sprintf("%v %+v %#v", r, r, r); strings.Contains(text, "canary") {
		t.Errorf("the consent id is printed: %s", text)
	}
}

func TestUnattendedRead(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name string
		r    event.Request
		want bool
	}{
		{"unattended read", event.Request{Read: true, Attended: &no, Status: 200}, true},
		{"attended", event.Request{Read: true, Attended: &yes, Status: 200}, false},
		{"not known whether attended", event.Request{Read: true, Status: 200}, false},
		{"no read", event.Request{Attended: &no, Status: 200}, false},
		{"failed", event.Request{Read: true, Attended: &no, Status: 429}, false},
		{"no response", event.Request{Read: true, Attended: &no}, false},
	} {
		if got := tt.r.UnattendedRead(); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}
