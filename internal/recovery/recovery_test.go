package recovery_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"ais-gateway/internal/recovery"
)

const canary = "DE89370400440532013000"

// stringer would print what it holds.
type stringer struct{ text string }

func (s stringer) String() string { return s.text }

func TestCatch(t *testing.T) {
	var none map[string]int
	for name, tt := range map[string]struct {
		do   func()
		says string // "" for nothing logged
	}{
		"nothing":        {do: func() {}},
		"a text":         {do: func() { panic(canary) }, says: "not shown"},
		"an error":       {do: func() { panic(errors.New(canary)) }, says: "not shown"},
		"a stringer":     {do: func() { panic(stringer{canary}) }, says: "not shown"},
		"a structure":    {do: func() { panic(struct{ A string }{canary}) }, says: "not shown"},
		"nil":            {do: func() { panic(nil) }, says: "panic called with nil"},
		"of the runtime": {do: func() { none[canary] = 1 }, says: "assignment to entry in nil map"},
		"a wrong type":   {do: func() { _ = any(canary).(error) }, says: "interface conversion"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			func() {
				defer recovery.Recover(t.Context(), slog.New(slog.NewJSONHandler(&out, nil)))
				tt.do()
			}()
			if strings.Contains(out.String(), canary) {
				t.Errorf("what was panicked with came out: %s", out.String())
			}
			logged := strings.Contains(out.String(), `"level":"ERROR","msg":"panic"`) && strings.Contains(out.String(), "rescue_test.go")
			if logged != (tt.says != "") || !strings.Contains(out.String(), tt.says) {
				t.Errorf("logged %q, want %q", out.String(), tt.says)
			}
		})
	}
}
