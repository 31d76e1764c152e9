package main

import (
	"debug/buildinfo"
	"debug/elf"
	"fmt"
)

// A program is a binary of the gateway, and what Go wrote into it about its build.
type program struct {
	path string
	info *buildinfo.BuildInfo
	set  map[string]string // its settings
}

// open reads what a binary is, and refuses one that would not run in an image that holds nothing else, or that `make
// build` does not make.
func open(path string) (program, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, err
	}
	p := program{path: path, info: info, set: map[string]string{}}
	for _, s := range info.Settings {
		p.set[s.Key] = s.Value
	}
	for _, must := range [][2]string{{"GOOS", "linux"}, {"CGO_ENABLED", "0"}, {"-trimpath", "true"}} {
		if p.set[must[0]] != must[1] {
			return program{}, fmt.Errorf("%s was built with %s=%s, and not %s", path, must[0], p.set[must[0]], must[1])
		}
	}
	file, err := elf.Open(path)
	if err != nil {
		return program{}, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return program{}, fmt.Errorf("%s is linked dynamically", path)
		}
	}
	return p, nil
}

func (p program) platform() string { return p.set["GOOS"] + "/" + p.set["GOARCH"] }
