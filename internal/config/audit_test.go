package config_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"ais-gateway/internal/config"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, audit string
		faults      []string
	}{
		{"standard output", "{output: stdout}", nil},
		{"standard error", "{output: stderr}", nil},
		{"off", "{output: off}", nil},
		{"file", "{output: file, file: /var/log/audit}", nil},
		{"key", "{keyFile: /run/secrets/cache/key}", nil},
		{"file without a name", "{output: file}", []string{"audit.file (line 12): is missing"}},
		{"file without output", "{file: /var/log/audit}", []string{"audit.file (line 12): only with output: file"}},
		{"unknown output", "{output: none}", []string{"audit.output (line 12): must be stdout, stderr, file or off"}},
		{"no output", "{output: ''}", []string{"audit.output (line 12): must be"}},
		{"refuse", "{whenFull: refuse}", nil},
		{"unknown word", "{whenFull: wait}", []string{"audit.whenFull (line 12): must be drop or refuse"}},
		{"invalid key", "{keyFile: /run/secrets/bad/short}", []string{"audit.keyFile (line 12): line 1 must be 32 bytes in base64"}},
		{"key file missing", "{keyFile: /run/secrets/absent}", []string{"audit.keyFile (line 12): file does not exist (relative paths start at the working directory)"}},
		{"unknown key", "{path: x}", []string{"audit.path (line 12): unknown key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Read([]byte(onDisk(t, minimal+"audit: "+tt.audit+"\n")))
			faults := faultsOf(t, err)
			if len(faults) != len(tt.faults) {
				t.Errorf("faults %v, want %v", err, tt.faults)
			}
			for i, f := range faults {
				if i < len(tt.faults) && !strings.HasPrefix(f.String(), tt.faults[i]) {
					t.Errorf("fault %q, want %q", f, tt.faults[i])
				}
			}
		})
	}
}

func TestAuditKey(t *testing.T) {
	t.Parallel()
	c := mustRead(t, onDisk(t, minimal+"audit: {output: file, file: a, keyFile: /run/secrets/cache/key}\n"))
	if got := c.Audit.Key(); !bytes.Equal(got, bytes.Repeat([]byte{1}, 32)) {
		t.Errorf("the key is %x", got)
	}
	if got := mustRead(t, minimal).Audit.Key(); got != nil {
		t.Errorf("without a file the key is %x", got)
	}
	again := roundTrip(t, c)
	if again.Audit.File != "a" {
		t.Errorf("printed and read, the file is %q", again.Audit.File)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	for level, want := range map[config.LogLevel]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		if got := mustRead(t, minimal+"log: {level: "+string(level)+"}\n").Log.Level; got != level || got.Slog() != want {
			t.Errorf("%s is %s, %v", level, got, got.Slog())
		}
	}
	for _, bad := range []string{"INFO", "trace", "''", "warning"} {
		_, err := config.Read([]byte(minimal + "log: {level: " + bad + "}\n"))
		if got := faultsOf(t, err); len(got) != 1 || got[0].String() != "log.level (line 12): must be debug, info, warn or error" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
