// Package prometheustest runs a real Prometheus for tests, which scrapes gateways and evaluates
// rules as an operator's Prometheus does. Tests run the queries of dashboards and alerts there.
// Only tests import it. Without prometheus these tests fail; they are never skipped.
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
	// Job is the label job of all targets.
	Job = "ais-gateway"
	// Interval is the time between scrapes, and between evaluations of the rules.
	Interval = 500 * time.Millisecond

	waitTimeout  = time.Minute // for every condition
	pollInterval = 50 * time.Millisecond
)

// Server is a Prometheus on a loopback port of its own. Its methods fail the test that started it,
// and must be called by that test's goroutine.
type Server struct {
	URL string // http://host:port

	t      testing.TB
	client http.Client
	server *servertest.Server
}

// Start runs a Prometheus with rule files (paths) until the test ends. It scrapes the targets,
// host:port or http://host:port. Start waits until all of them are up.
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
	s := &Server{t: t, client: http.Client{Timeout: waitTimeout}}
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

// configure returns the configuration as JSON, which is also YAML. It returns an error if a rule
// file does not exist.
func configure(rules, targets []string) ([]byte, error) {
	files := make([]string, len(rules))
	for i, file := range rules {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil { // Prometheus would start without it
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

// get calls a method of the API, https://prometheus.io/docs/prometheus/latest/querying/api/, and
// decodes its data. It returns an error if Prometheus reports one.
func (s *Server) get(path string, form url.Values, into any) error {
	resp, err := s.client.PostForm(s.URL+"/api/v1/"+path, form)
	if err == nil && resp.StatusCode == http.StatusMethodNotAllowed { // some methods are for GET only
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

func (s *Server) mustGet(path string, form url.Values, into any) {
	s.t.Helper()
	if err := s.get(path, form, into); err != nil {
		s.t.Fatalf("prometheus: %s %s: %v", path, form.Encode(), err)
	}
}

// formatTime returns a time as Prometheus writes it: seconds since 1970, with a fraction.
func formatTime(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// eventually calls holds until it returns nil. After a minute it fails the test with the last
// error.
func (s *Server) eventually(what string, holds func() error) {
	s.t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(pollInterval) {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("prometheus: timed out waiting until %s: %v", what, err)
		}
	}
}
