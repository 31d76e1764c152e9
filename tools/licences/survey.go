package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// A module is a dependency of a part.
type module struct {
	path, version string
	dir           string
	packages      []string // the directories of the packages that are needed
}

// survey returns the modules that any of the lists needs on any of the platforms, sorted by path,
// without the main module and the standard library.
func survey(dir string, lists [][]string, platforms []platform) ([]module, error) {
	found := map[string]*module{}
	for _, on := range platforms {
		for _, list := range lists {
			if err := add(found, dir, on, list); err != nil {
				return nil, err
			}
		}
	}
	modules := make([]module, 0, len(found))
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := *found[path]
		slices.Sort(m.packages)
		m.packages = slices.Compact(m.packages)
		modules = append(modules, m)
	}
	return modules, nil
}

// add adds the modules that a list needs on a platform to found.
func add(found map[string]*module, dir string, on platform, list []string) error {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,Module"}, list...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+on.os, "GOARCH="+on.arch, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	for packages := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path, Version string }
			}
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			if r := p.Module.Replace; r != nil {
				m.version += " => " + filepath.ToSlash(r.Path)
			}
			found[m.path] = m
		}
		m.packages = append(m.packages, p.Dir)
	}
}
