package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBoardsAreWhatIsWritten: what is committed is what is written: `make dashboards`.
func TestBoardsAreWhatIsWritten(t *testing.T) {
	const dir = "../../deploy/grafana"
	for name, b := range boards {
		want, err := b.json()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what `make dashboards` writes: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(boards) {
		t.Errorf("there are %q, and %d boards: %v", files, len(boards), err)
	}
}

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
		t.Error("what cannot be written is no error")
	}
}

// color is what a panel's thresholds make of a value.
func (p panel) color(t *testing.T, value float64) string {
	t.Helper()
	built, err := p.build(1)
	if err != nil {
		t.Fatal(err)
	}
	var color string
	for i, s := range built.FieldConfig.Defaults.Thresholds.Steps {
		if (i == 0) != (s.Value == nil) {
			t.Fatalf("%s: step %d begins at %v", p.title, i, s.Value)
		}
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return color
}

// TestNumbersShowWhatIsBad: a number that tells good from bad shows it: what is promised is green,
// and what misses it red, on whichever side that is.
func TestNumbersShowWhatIsBad(t *testing.T) {
	const day = 24 * 60 * 60
	indifferent := []string{"Gateways", "Versions"} // how many there should be, nobody tells
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
						t.Errorf("%s: is any value of %s bad?", b.title, p.title)
					}
					continue
				}
				delete(tests, p.title)
				for color, values := range map[string][]float64{"green": tt.good, "red": tt.bad} {
					for _, v := range values {
						if got := p.color(t, v); got != color {
							t.Errorf("%s, %s: %v is %s, and should be %s", b.title, p.title, v, got, color)
						}
					}
				}
			}
		}
	}
	if len(tests) > 0 {
		t.Errorf("there are no panels %v", tests)
	}
}

// TestSharesWithoutACall: what was answered old, because a slot was refused or a call failed, is in
// no share of what was had without a call.
func TestSharesWithoutACall(t *testing.T) {
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
						t.Errorf("%s counts what is old: %s", p.title, part)
					}
				}
				if strings.Contains(whole, "slot=") || strings.Contains(whole, "result=") {
					t.Errorf("%s is not held against all: %s", p.title, whole)
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("%d panels are found", found)
	}
}
