// Package prometheustest runs a real Prometheus for tests, which scrapes gateways and keeps rules as an operator's
// does. What dashboards and alerts ask is asked there. Only tests import it. Where prometheus is missing these tests
// fail; they are never skipped.
package prometheustest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/servertest"
)

const (
	// Job is the label job of all that is scraped.
	Job = "ais-gateway"
	// Interval is how often targets are scraped and rules judged.
	Interval = 500 * time.Millisecond

	within   = time.Minute // for what must come
	askEvery = 50 * time.Millisecond
)

// A Server is a Prometheus on a loopback port of its own. Its methods fail the test that started it, and are for that
// test's goroutine alone.
type Server struct {
	URL string // http://host:port

	t      testing.TB
	client http.Client
	server *servertest.Server
}

// Start runs a Prometheus with files of rules (paths) that scrapes targets: host:port, or http://host:port. It returns
// once all of them are up. It is ended with the test.
func Start(t testing.TB, rules []string, targets ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is not on the PATH; `make prometheus` installs it")
	}
	config, err := configure(rules, targets)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, client: http.Client{Timeout: within}}
	s.server = servertest.Start(t, func(dir string) ([]string, func() error) {
		addr, err := servertest.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "prometheus.yml")
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		s.URL = "http://" + addr
		return []string{
			path, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr,
			"--enable-feature=exemplar-storage", "--log.level=warn",
		}, s.ready
	})
	s.eventually("all targets are up", func() error {
		for _, target := range s.Targets() {
			if target.Health != "up" {
				return fmt.Errorf("%s is %s: %s", target.URL, target.Health, target.LastError)
			}
		}
		if n := len(s.Targets()); n != len(targets) {
			return fmt.Errorf("%d targets of %d", n, len(targets))
		}
		return nil
	})
	return s
}

// configure is the configuration, as JSON, which is YAML too.
func configure(rules, targets []string) ([]byte, error) {
	files := make([]string, len(rules))
	for i, file := range rules {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil { // Prometheus starts without it
			return nil, err
		}
		files[i] = path
	}
	hosts := make([]string, len(targets))
	for i, target := range targets {
		hosts[i] = strings.TrimPrefix(target, "http://")
	}
	every := fmt.Sprintf("%dms", Interval.Milliseconds())
	return json.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
		"rule_files": files,
		"scrape_configs": []any{map[string]any{
			"job_name":       Job,
			"static_configs": []any{map[string]any{"targets": hosts}},
		}},
	})
}

func (s *Server) ready() error {
	resp, err := s.client.Get(s.URL + "/-/ready")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// ask calls the API, https://prometheus.io/docs/prometheus/latest/querying/api/, and decodes its data.
func (s *Server) ask(path string, form url.Values, into any) error {
	resp, err := s.client.PostForm(s.URL+"/api/v1/"+path, form)
	if err == nil && resp.StatusCode == http.StatusMethodNotAllowed { // some are for GET alone
		_ = resp.Body.Close()
		resp, err = s.client.Get(s.URL + "/api/v1/" + path + "?" + form.Encode())
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, ErrorType, Error string
		Data                     json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.ErrorType, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

func (s *Server) mustAsk(path string, form url.Values, into any) {
	s.t.Helper()
	if err := s.ask(path, form, into); err != nil {
		s.t.Fatalf("prometheus: %s %s: %v", path, form.Encode(), err)
	}
}

// stamp is a time as Prometheus writes it: seconds since 1970, with a fraction.
func stamp(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// eventually asks again and again until holds is nil, and fails the test with what it said last after 30 s.
func (s *Server) eventually(what string, holds func() error) {
	s.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(askEvery) {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("prometheus: in vain waited until %s: %v", what, err)
		}
	}
}
