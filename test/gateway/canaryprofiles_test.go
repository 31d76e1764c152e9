package gateway_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"ais-gateway/internal/gatewaytest"
)

// momentary are the profiles that show one moment, in all their forms.
var momentary = []string{
	"", "allocs", "allocs?debug=1", "block", "block?debug=1", "cmdline", "goroutine", "goroutine?debug=1", "goroutine?debug=2", "heap",
	"heap?debug=1", "heap?gc=1", "mutex", "mutex?debug=1", "threadcreate", "threadcreate?debug=1",
}

// recorded are the profiles that are recorded for some time.
var recorded = []string{"profile?seconds=1", "trace?seconds=1"}

// profiles reads the profiles of a gateway. Its methods may be called concurrently.
type profiles struct {
	t     *testing.T
	admin string // base URL of the admin server

	mu    sync.Mutex
	texts map[string]string // what was read, uncompressed, by path
}

// read reads a profile, adds it to texts, and returns it.
func (p *profiles) read(name string) string {
	path := "/debug/pprof/" + name
	text, err := readProfile(p.admin + path)
	if err != nil {
		p.t.Errorf("%s: %v", path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.texts[path] += text
	return text
}

// readProfile returns the uncompressed response to a GET.
func readProfile(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return string(text), errors.New(resp.Status)
	}
	if err != nil || !strings.HasPrefix(string(text), "\x1f\x8b") {
		return string(text), err
	}
	unzipped, err := gzip.NewReader(strings.NewReader(string(text)))
	if err != nil {
		return "", err
	}
	text, err = io.ReadAll(unzipped)
	return string(text), err
}

// readAll reads all profiles of this moment.
func (p *profiles) readAll() {
	for _, name := range momentary {
		p.read(name)
	}
}

// record calls send for as long as profiles are recorded, and until each of them shows the gateway
// at its work.
func (p *profiles) record(send func()) {
	gatewaytest.Eventually(p.t, "all profiles show requests", func() bool {
		results := make(chan string, len(recorded))
		for _, name := range recorded {
			go func() { results <- p.read(name) }()
		}
		for len(results) < len(recorded) {
			send()
		}
		shown := true
		for range recorded {
			shown = strings.Contains(<-results, "ais-gateway/internal/api.") && shown
		}
		return shown
	})
}
