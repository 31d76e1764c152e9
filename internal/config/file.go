package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFile is the maximum size of every file that is read here, in bytes. Keys and certificates are
// much smaller.
const maxFile = 1 << 20

// writableByOthers is the permission of every local user to write to a file.
const writableByOthers fs.FileMode = 0o002

// File is a secret file. The configuration contains its path; the content is read together with the
// configuration, so that checks need no I/O. It is formatted as its path.
type File struct {
	path     string
	content  func() []byte // a function, so that fmt does not print the content of a File in an unexported field
	writable bool          // every local user can write to it
}

// UnmarshalText sets the path and reads the file. Its errors never contain content of the file.
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

// Given reports whether the configuration sets the file.
func (f File) Given() bool { return f.path != "" }

// Path returns the path as it is in the configuration.
func (f File) Path() string { return f.path }

// Content returns the content of the file when the configuration was read.
func (f File) Content() []byte {
	if f.content == nil {
		return nil
	}
	return f.content()
}

// Line returns the content without a line break at its end, for a password or key of one line.
func (f File) Line() string {
	line, ended := strings.CutSuffix(string(f.Content()), "\n")
	if ended {
		line = strings.TrimSuffix(line, "\r")
	}
	return line
}

// String returns the path.
func (f File) String() string { return f.path }

// Format writes the path for every verb.
func (f File) Format(s fmt.State, _ rune) { fmt.Fprint(s, f.path) }

// MarshalText returns the path.
func (f File) MarshalText() ([]byte, error) { return []byte(f.path), nil }

// InMemoryFile returns a File that is not on disk, for tests and generated keys.
func InMemoryFile(content []byte) File {
	return newFile("(memory)", content, 0)
}

// readFile returns the content and mode of a regular file of at most maxFile bytes. Pipes and
// devices are refused, because reading them may not end.
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
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, 0, errors.New("file cannot be read")
	case len(content) > maxFile:
		return nil, 0, errors.New("file must not be larger than 1 MiB")
	}
	return content, info.Mode(), nil
}
