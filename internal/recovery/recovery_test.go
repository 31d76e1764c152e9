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

// stringer prints its text.
type stringer struct{ text string }

func (s stringer) String() string { return s.text }

func TestRecover(t *testing.T) {
	var none map[string]int
	for name, tt := range map[string]struct {
		do   func()
		want string // in the log; "" if nothing is logged
	}{
		"nothing":        {do: func() {}},
		"a text":         {do: func() { panic(canary) }, want: "not shown"},
		"an error":       {do: func() { panic(errors.New(canary)) }, want: "not shown"},
		"a stringer":     {do: func() { panic(stringer{canary}) }, want: "not shown"},
		"a structure":    {do: func() { panic(struct{ A string }{canary}) }, want: "not shown"},
		"nil":            {do: func() { panic(nil) }, want: "panic called with nil"},
		"of the runtime": {do: func() { none[canary] = 1 }, want: "assignment to entry in nil map"},
		"a wrong type":   {do: func() { _ = any(canary).(error) }, want: "interface conversion"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			func() {
				defer recovery.Recover(t.Context(), slog.New(slog.NewJSONHandler(&out, nil)))
				tt.do()
			}()
			if strings.Contains(out.String(), canary) {
				t.Errorf("the value of the panic is logged: %s", out.String())
			}
			logged := strings.Contains(out.String(), `"level":"ERROR","msg":"panic"`) && strings.Contains(out.String(), "recovery_test.go")
			if logged != (tt.want != "") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("logged %q, want %q", out.String(), tt.want)
			}
		})
	}
}
