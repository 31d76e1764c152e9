package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"ais-gateway/internal/sandbox"
)

// If a step of the tour fails, the command returns its error.
func TestDemoFailsWithItsTour(t *testing.T) {
	broken := func(_ string, _ http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	}
	var stdout, stderr bytes.Buffer
	err := runSandbox(t.Context(), sandbox.Options{Address: "127.0.0.1:0", Front: broken}, true, &stdout, &stderr)
	if err == nil || !strings.Contains(err.Error(), "step 1") || strings.Contains(stdout.String(), "All steps passed") {
		t.Errorf("got %v\n%s", err, stdout.String())
	}
}
