package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFile bounds every file that is read here, in bytes. Keys and certificates are far smaller.
const maxFile = 1 << 20

// writableByOthers is the permission of every local user to write to a file.
const writableByOthers fs.FileMode = 0o002

// A File is a secret that stands in a file of its own. In the configuration it is the file's path; its content
// is read when the configuration is, so that whoever checks it needs no I/O. It prints as its path.
type File struct {
	path     string
	content  func() []byte // a function, so that a File in a private field prints without it
	writable bool          // every local user can write to it
}

// UnmarshalText takes the path and reads the file. Its errors say what is wrong, and never what is in it.
func (f *File) UnmarshalText(path []byte) error {
	if len(path) == 0 {
		return errors.New("must not be empty")
	}
	content, mode, err := readFile(string(path))
	if err != nil {
		return err
	}
	if len(content) == 0 {
		return errors.New("file is empty")
	}
	*f = newFile(string(path), content, mode)
	return nil
}

func newFile(path string, content []byte, mode fs.FileMode) File {
	return File{path: path, content: func() []byte { return content }, writable: mode&writableByOthers != 0}
}

// Given reports whether the configuration names the file.
func (f File) Given() bool { return f.path != "" }

// Path is the file's name as the configuration has it.
func (f File) Path() string { return f.path }

// Content is what stood in the file when the configuration was read.
func (f File) Content() []byte {
	if f.content == nil {
		return nil
	}
	return f.content()
}

// Line is the content without the line break at its end, as a password or a key of one line is meant.
func (f File) Line() string {
	line, ended := strings.CutSuffix(string(f.Content()), "\n")
	if ended {
		line = strings.TrimSuffix(line, "\r")
	}
	return line
}

// String is the path.
func (f File) String() string { return f.path }

// Format writes the path, whatever the verb.
func (f File) Format(s fmt.State, _ rune) { fmt.Fprint(s, f.path) }

// MarshalText is the path.
func (f File) MarshalText() ([]byte, error) { return []byte(f.path), nil }

// FileOf makes a File that stands nowhere, for programs that make their own keys.
func InMemoryFile(content []byte) File {
	return File{path: "(memory)", content: func() []byte { return content }}
}

// readFile reads a regular file of at most maxFile bytes, with its mode. A pipe or a device is refused: it could have no end.
func readFile(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, errors.New("file does not exist (relative paths start at the working directory)")
	case err != nil:
		return nil, 0, errors.New("file cannot be read (check the permissions of its directories)")
	case info.IsDir():
		return nil, 0, errors.New("must be a file, not a directory")
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("must be a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, errors.New("file cannot be read")
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, 0, errors.New("file cannot be read")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, 0, errors.New("file cannot be read")
	case len(content) > maxFile:
		return nil, 0, errors.New("file must not be larger than 1 MiB")
	}
	return content, info.Mode(), nil
}
