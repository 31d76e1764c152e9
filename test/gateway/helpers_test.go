package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// volume is a directory of secrets as the kubelet mounts it
// (kubernetes/pkg/volume/util/atomic_writer.go): each file is a link through ..data to a directory
// that is named after the time.
type volume struct {
	t     *testing.T
	dir   string
	files map[string]string
	n     int
}

// newVolume returns a volume with files.
func newVolume(t *testing.T, files map[string]string) *volume {
	t.Helper()
	v := &volume{t: t, dir: t.TempDir(), files: map[string]string{}}
	v.swap(files)
	for name := range files {
		v.must(os.Symlink(filepath.Join("..data", name), v.path(name)))
	}
	return v
}

// path returns the path of a file.
func (v *volume) path(name string) string { return filepath.Join(v.dir, name) }

// must fails the test if there is an error.
func (v *volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// swap replaces or adds files in one step, by renaming a link, and removes the old ones.
func (v *volume) swap(files map[string]string) {
	v.t.Helper()
	for name, content := range files {
		v.files[name] = content
	}
	old, _ := os.Readlink(v.path("..data"))
	v.n++
	now := fmt.Sprintf("..2026_11_20_10_00_00.%09d", v.n)
	v.must(os.Mkdir(v.path(now), 0o700))
	for name, content := range v.files {
		writeFile(v.t, filepath.Join(v.path(now), name), content)
	}
	v.must(os.Symlink(now, v.path("..data_tmp")))
	v.must(os.Rename(v.path("..data_tmp"), v.path("..data")))
	if old != "" {
		v.must(os.RemoveAll(v.path(old)))
	}
}

// replaceFile replaces a file as an editor does: it writes another file and renames it.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	writeFile(t, path+"~", content)
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// sandboxFile returns the contents of a file of the sandbox.
func sandboxFile(t *testing.T, w *sandbox.Sandbox, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withSecretVolume returns a configuration whose secrets are on a volume, and the volume. more are
// further files on it, oldnew further replacements in the configuration.
func withSecretVolume(t *testing.T, w *sandbox.Sandbox, more map[string]string, oldnew ...string) (string, *volume) {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"signing-key.pem", "mypos-key", "cache-key"} {
		files[name] = sandboxFile(t, w, name)
	}
	for name, content := range more {
		files[name] = content
	}
	v := newVolume(t, files)
	return gatewaytest.ReplaceInConfig(t, w, append([]string{
		filepath.Dir(w.ConfigFile) + "/signing-key.pem", v.path("signing-key.pem"),
		filepath.Dir(w.ConfigFile) + "/mypos-key", v.path("mypos-key"),
		filepath.Dir(w.ConfigFile) + "/cache-key", v.path("cache-key"),
	}, oldnew...)...), v
}

// waitFor waits until a condition holds that the gateway meets after it has read files or keys
// again. It fails the test after three minutes.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

const (
	reloadedMsg     = "secrets reloaded"
	reloadFailedMsg = "secret reload failed, still using the previous secret"
)

// logLines returns the log lines with a message and a part of the secrets, "" for lines without
// one.
func (p *process) logLines(msg, part string) []string {
	var all []string
	for line := range strings.Lines(p.Stdout.String()) {
		var l struct{ Msg, Part string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg && l.Part == part {
			all = append(all, line)
		}
	}
	return all
}

// waitForLog waits until the log has n lines with a message and a part.
func (p *process) waitForLog(msg, part string, n int) {
	p.T.Helper()
	waitFor(p.T, fmt.Sprintf("%q is logged %d times for %s", msg, n, part), func() bool { return len(p.logLines(msg, part)) >= n })
}

// sendSteadily sends each request repeatedly, all of them concurrently, until stop is called. Each
// response must have status 200. It returns after the first responses, and stop waits for some
// more.
func sendSteadily(t *testing.T, client *http.Client, requests ...*http.Request) (stop func()) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var n atomic.Int64
	for _, r := range requests {
		running.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
				status, body := do(client, r)
				if n.Add(1); status != http.StatusOK {
					t.Errorf("%s: %d %s", r.URL.Path, status, body)
					return
				}
			}
		})
	}
	waitForMore := func() {
		want := n.Load() + 5
		gatewaytest.Eventually(t, "more requests have responses", func() bool { return n.Load() >= want || t.Failed() })
	}
	waitForMore()
	t.Cleanup(func() { end(); running.Wait() })
	return func() { waitForMore(); end(); running.Wait() }
}

// do sends a copy of a request. It returns the status and the body, or 0 and the error if there is
// no response.
func do(client *http.Client, r *http.Request) (int, string) {
	resp, err := client.Do(r.Clone(context.Background()))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// newRequest returns an attended request with the sandbox's key that bypasses the cache. header
// alternates names and values.
func newRequest(t *testing.T, url string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	header = append([]string{"X-API-Key", sandbox.Key, "PSU-IP-Address", "203.0.113.7", "Cache-Control", "no-cache"}, header...)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// fallbackSimulator responds like the first simulator if that succeeds, otherwise like the second.
// It counts the calls, and the successes of the second simulator.
type fallbackSimulator struct {
	first, second   http.Handler
	secondOK, total atomic.Int64
}

func (e *fallbackSimulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	send := func(to http.Handler) *httptest.ResponseRecorder {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		recorder := httptest.NewRecorder()
		to.ServeHTTP(recorder, again)
		return recorder
	}
	recorder := send(e.first)
	e.total.Add(1)
	if recorder.Code != http.StatusOK {
		if recorder = send(e.second); recorder.Code == http.StatusOK {
			e.secondOK.Add(1)
		}
	}
	for name, values := range recorder.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(recorder.Body.Bytes())
}
