package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBoardsAreUpToDate: the files in deploy/grafana are those that `make dashboards` writes.
func TestBoardsAreUpToDate(t *testing.T) {
	const dir = "../../deploy/grafana"
	for name, b := range boards {
		want, err := b.json()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not up to date, run `make dashboards`: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(boards) {
		t.Errorf("there are the files %q, but %d boards: %v", files, len(boards), err)
	}
}

// TestWrite: write creates a file for each board, and returns an error if it cannot.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for name := range boards {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.HasSuffix(text, []byte("}\n")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := write(filepath.Join(dir, "none")); err == nil {
		t.Error("write to a missing directory returns no error")
	}
}

// color returns the color of a value by the panel's thresholds.
func (p panel) color(t *testing.T, value float64) string {
	t.Helper()
	built, err := p.build(1)
	if err != nil {
		t.Fatal(err)
	}
	var color string
	for i, s := range built.FieldConfig.Defaults.Thresholds.Steps {
		if (i == 0) != (s.Value == nil) {
			t.Fatalf("%s: step %d starts at %v", p.title, i, s.Value)
		}
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return color
}

// TestNumberColors: a number is green if the value is good and red if it is bad.
func TestNumberColors(t *testing.T) {
	const day = 24 * 60 * 60
	indifferent := []string{"Gateways", "Versions"} // no value is good or bad
	tests := map[string]struct{ good, bad []float64 }{
		"Availability":          {[]float64{0.999, 1}, []float64{0.9989, 0}},
		"Answered within 2.5 s": {[]float64{0.99, 1}, []float64{0.9899, 0}},
		"Certificates end in":   {[]float64{30 * day, 300 * day}, []float64{30*day - 1, 0, -day}},
		"Usable":                {[]float64{1}, []float64{0}},
		"May evict":             {[]float64{0}, []float64{1}},
		"Closed by the bank":    {[]float64{0}, []float64{1, 7}},
	}
	for _, b := range boards {
		for _, r := range b.rows {
			for _, p := range r.panels {
				tt, ok := tests[p.title]
				if !ok {
					if p.kind == number && !slices.Contains(indifferent, p.title) {
						t.Errorf("%s: %s is not tested: which values are bad?", b.title, p.title)
					}
					continue
				}
				delete(tests, p.title)
				for color, values := range map[string][]float64{"green": tt.good, "red": tt.bad} {
					for _, v := range values {
						if got := p.color(t, v); got != color {
							t.Errorf("%s, %s: %v is %s, want %s", b.title, p.title, v, got, color)
						}
					}
				}
			}
		}
	}
	if len(tests) > 0 {
		t.Errorf("there are no panels for %v", tests)
	}
}

// TestShareWithoutCall: the shares of requests without a call do not count old lists, because a
// slot may have been refused or a call may have failed before.
func TestShareWithoutCall(t *testing.T) {
	found := 0
	for _, b := range boards {
		for _, r := range b.rows {
			for _, p := range r.panels {
				if p.title != "Reads that needed no slot" && p.title != "Share without a call" {
					continue
				}
				found++
				part, whole, _ := strings.Cut(p.queries[0].expr, " / ")
				for _, old := range []string{"refused", "stale"} {
					if strings.Contains(part, old) || !strings.Contains(part, "result=~") && !strings.Contains(part, `slot="none"`) {
						t.Errorf("%s counts old lists: %s", p.title, part)
					}
				}
				if strings.Contains(whole, "slot=") || strings.Contains(whole, "result=") {
					t.Errorf("%s is not a share of all requests: %s", p.title, whole)
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("found %d panels, want 2", found)
	}
}
