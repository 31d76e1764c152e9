package config_test

import (
	"strings"
	"testing"

	"ais-gateway/internal/config"
)

// For every text, Read does not panic, its faults are in lines of the text, and a configuration
// without faults is printed so that reading it returns the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(example))
	f.Add([]byte(strings.Replace(minimal, "    baseURL", strange+"    baseURL", 1)))
	f.Add([]byte("%TAG !! x\n---\n&a b: !!map &c\n- ? !t\n- *d\n- {*a : &b, <<: !!str}\n"))
	f.Add([]byte("a: |\n  b\n c: [d, {e: f}]\n? g\n: &h i\n<<: *h\n--- !!str\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Read(text)
		lines := 1 + strings.Count(strings.ReplaceAll(string(text), "\r", "\n"), "\n")
		for _, fault := range faultsOf(t, err) {
			if fault.Line < 0 || fault.Line > lines || fault.Detail == "" {
				t.Errorf("fault in line %d of %d: %v", fault.Line, lines, fault)
			}
		}
		if err == nil {
			roundTrip(t, c)
		}
	})
}
