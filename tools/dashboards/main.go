// Dashboards writes the Grafana dashboards into deploy/grafana. `make dashboards` runs it, and a
// test checks that the files are up to date.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// boards has all boards by the names of their files.
var boards = map[string]board{
	"service.json":    service,
	"aspsps.json":     aspsps,
	"unattended.json": unattended,
	"redis.json":      redis,
}

func main() {
	dir := flag.String("dir", "../deploy/grafana", "the `directory` to write to")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for name, b := range boards {
		text, err := b.json()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// json returns the board in the JSON format of Grafana.
func (b board) json() ([]byte, error) {
	built, err := b.build()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err = e.Encode(built)
	return text.Bytes(), err
}
