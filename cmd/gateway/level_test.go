package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"ais-gateway/internal/sandbox"
)

// The log level does not apply to audit records.
func TestLogLevel(t *testing.T) {
	world, err := sandbox.Start(t.Context(), sandbox.Options{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Stop)
	text, err := os.ReadFile(world.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(world.ConfigFile, append(text, "log: {level: warn}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	api, stop, err := Run(t.Context(), world.ConfigFile, &logs)
	if err != nil {
		t.Fatal(err)
	}
	get(t, api+"/v1/aspsps/"+sandbox.MyPOS, "")
	stop()
	if got := logs.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"record":"audit"`) {
		t.Errorf("the log:\n%s", got)
	}
}
