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

// NewSandbox starts simulators and a Redis of their own for gateways, until the test ends.
func NewSandbox(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	return NewSandboxOn(t, redistest.Start(t), o)
}

// NewSandboxOn starts simulators for gateways that share a given Redis.
func NewSandboxOn(t *testing.T, server *redistest.Server, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Redis = "{mode: standalone, addresses: ['" + server.Addr + "']}"
	return NewSandboxWith(t, o)
}

// NewSandboxWith starts simulators for gateways that share the Redis of the options.
func NewSandboxWith(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Address = "127.0.0.1:0"
	s, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Call sends a request with the sandbox's API key and returns the response and its body. header
// alternates names and values.
func Call(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	return send(t, method, url, nil, header)
}

// Post sends a JSON body with the sandbox's API key, as Call does.
func Post(t *testing.T, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return send(t, http.MethodPost, url, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, header...))
}

func send(t *testing.T, method, url string, content io.Reader, header []string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, content)
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

// ReplaceInConfig writes a copy of the sandbox's configuration in which each old text is replaced
// by the new one after it, and returns its path. It fails the test unless the configuration has
// each old text exactly once.
func ReplaceInConfig(t *testing.T, s *sandbox.Sandbox, oldnew ...string) string {
	t.Helper()
	return EditConfig(t, s, func(text string) string {
		for i := 0; i+1 < len(oldnew); i += 2 {
			if n := strings.Count(text, oldnew[i]); n != 1 {
				t.Fatalf("the configuration has %q %d times, want once", oldnew[i], n)
			}
			text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
		}
		return text
	})
}

// EditConfig writes an edited copy of the sandbox's configuration and returns its path. It fails
// the test if nothing was changed.
func EditConfig(t *testing.T, s *sandbox.Sandbox, edit func(text string) string) string {
	t.Helper()
	text, err := os.ReadFile(s.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(string(text))
	if edited == string(text) {
		t.Fatal("the configuration was not changed")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
