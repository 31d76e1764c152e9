package gatewaytest

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// World is a sandbox whose gateways share a real Redis.
func World(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	return WorldOn(t, redistest.Start(t), o)
}

// WorldOn is a sandbox whose gateways share the Redis given.
func WorldOn(t *testing.T, server *redistest.Server, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Redis = "{mode: standalone, addresses: ['" + server.Addr + "']}"
	return WorldOf(t, o)
}

// WorldOf is a sandbox whose gateways share the Redis that the options say.
func WorldOf(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Address = "127.0.0.1:0"
	w, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// Call asks a gateway as a caller does. header is name and value in turn.
func Call(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// Reconfigured is a file with the world's configuration, each old text, which stands there once, replaced by the one
// after it.
func Reconfigured(t *testing.T, w *sandbox.Sandbox, oldnew ...string) string {
	t.Helper()
	return Configured(t, w, func(text string) string {
		for i := 0; i+1 < len(oldnew); i += 2 {
			if n := strings.Count(text, oldnew[i]); n != 1 {
				t.Fatalf("%q stands there %d times", oldnew[i], n)
			}
			text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
		}
		return text
	})
}

// Configured is a file with the world's configuration after a change.
func Configured(t *testing.T, w *sandbox.Sandbox, change func(text string) string) string {
	t.Helper()
	text, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		t.Fatal("nothing was changed")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
