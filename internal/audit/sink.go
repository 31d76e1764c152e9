package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"ais-gateway/internal/output"
)

// Stream is the sink of a writer that is open already, as standard output is, and stays open.
func Stream(w io.Writer) io.WriteCloser { return stream{w} }

type stream struct{ io.Writer }

func (stream) Close() error { return nil }

// File is the sink of a file, which is made if need be (0600) and always appended to. When it was moved away or removed,
// the next record goes into a new one of its name.
func File(path string) io.WriteCloser { return &file{path: path} }

// A file serves one goroutine at a time.
type file struct {
	path string
	open *os.File // nil before it is opened
	torn bool     // its last line has no end
}

// errNoFile says that what stands in the file's place is none: to write to a pipe could take for ever.
var errNoFile = errors.New("not a writable file")

// Write appends one line. What a write that broke off has left is ended first, so that it spoils no other line.
func (f *file) Write(line []byte) (int, error) {
	if err := f.Ready(); err != nil {
		return 0, err
	}
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.open.Write(line)
	if n > 0 {
		f.torn = line[n-1] != '\n'
	}
	return n, err
}

// Ready sees to it that the file which has the path now is open.
func (f *file) Ready() error {
	there, err := os.Stat(f.path)
	switch {
	case err == nil && f.open != nil:
		if mine, err := f.open.Stat(); err == nil && os.SameFile(mine, there) {
			return nil
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err == nil && !there.Mode().IsRegular() && there.Mode()&fs.ModeCharDevice == 0 {
		return errNoFile
	}
	_ = f.Close()
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.open, f.torn = opened, false
	return nil
}

// Close closes the file; a later Write opens it again.
func (f *file) Close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}

// Cause is why a line could not be written, from a closed set.
func Cause(err error) string {
	switch {
	case errors.Is(err, output.ErrFull):
		return "queue_full"
	case errors.Is(err, syscall.EPIPE):
		return "no_reader"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "disk_full"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "no_such_directory"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "not_allowed"
	case errors.Is(err, errNoFile), errors.Is(err, syscall.EISDIR):
		return "no_file"
	default:
		return "other"
	}
}
