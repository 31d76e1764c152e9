package commandline_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"ais-gateway/internal/commandline"
)

func TestRun(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		args, stdout, stderr string // standard output and error: the beginning
		err                  error
	}{
		{"greet --name Ann", "hello Ann\n", "", nil},
		{"greet", "", "--name is required\n\nUsage: prog greet [flags]\n\nSay hello.\n\nFlags:\n  --name NAME\n\nExample:\n  prog greet\n\nSee x\n", commandline.ErrUsage},
		{"greet --name fail", "", "", failed},
		{"greet --name", "", "--name requires a value\n\nUsage: prog greet", commandline.ErrUsage},
		{"greet --nam Ann", "", "unknown flag \"--nam\"\n\nUsage: prog greet", commandline.ErrUsage},
		{"greet --name Ann Bob", "", "unexpected argument \"Bob\"\n\nUsage: prog greet", commandline.ErrUsage},
		{"greet --help", "Usage: prog greet [flags]\n", "", nil},
		{"help", "Usage: prog COMMAND [flags]\n\nCommands:\n  greet     say hello\n\nExample:\n  prog greet\n\nFlags of a command: prog COMMAND --help\nSee x\n", "", nil},
		{"part", "", "unknown command \"part\"\n\nUsage: prog COMMAND", commandline.ErrUsage},
		{"", "", "a command is required\n\nUsage: prog COMMAND", commandline.ErrUsage},
	} {
		var stdout, stderr bytes.Buffer
		greet := func(_ context.Context, l *commandline.Line) error {
			name := l.String("name", "", "")
			if err := l.Parse(); err != nil {
				return err
			}
			switch *name {
			case "":
				return l.Refuse("--name is required")
			case "fail":
				return failed
			}
			_, err := l.Stdout.Write([]byte("hello " + *name + "\n"))
			return err
		}
		err := commandline.Program{
			Name: "prog", Example: "prog greet", Documentation: "See x", Stdout: &stdout, Stderr: &stderr,
			Commands: []commandline.Command{{Name: "greet", Short: "say hello", Usage: " [flags]", Flags: "  --name NAME\n", Example: "prog greet", Run: greet}},
		}.Run(t.Context(), strings.Fields(tt.args))
		if !errors.Is(err, tt.err) || !begins(stdout.String(), tt.stdout) || !begins(stderr.String(), tt.stderr) {
			t.Errorf("%q: %v, standard output %q, standard error %q", tt.args, err, &stdout, &stderr)
		}
	}
}

// begins reports whether text begins with prefix, and is empty if prefix is.
func begins(text, prefix string) bool {
	return strings.HasPrefix(text, prefix) && (text == "") == (prefix == "")
}
