package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"ais-gateway/internal/output"
)

// Stream returns a sink that writes to w, for example standard output. Close does not close w.
func Stream(w io.Writer) io.WriteCloser { return stream{w} }

type stream struct{ io.Writer }

func (stream) Close() error { return nil }

// File returns a sink that appends to a file, and creates it with mode 0600. If the file is moved
// or removed, the next record creates a new one.
func File(path string) io.WriteCloser { return &file{path: path} }

// file appends lines to a file. It is not safe for concurrent use.
type file struct {
	path        string
	open        *os.File // nil before it is opened
	partialLine bool     // the last write failed in the middle of a line
}

// errNoFile means that the path is not a regular file. A write to a pipe could block forever.
var errNoFile = errors.New("not a writable file")

// Write appends one line. After a partial line it first ends that line, so that the new line is
// valid.
func (f *file) Write(line []byte) (int, error) {
	if err := f.Ready(); err != nil {
		return 0, err
	}
	if f.partialLine {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.open.Write(line)
	if n > 0 {
		f.partialLine = line[n-1] != '\n'
	}
	return n, err
}

// Ready opens the file, or opens it again if another file has its path now.
func (f *file) Ready() error {
	info, err := os.Stat(f.path)
	switch {
	case err == nil && f.open != nil:
		if current, err := f.open.Stat(); err == nil && os.SameFile(current, info) {
			return nil
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeCharDevice == 0 {
		return errNoFile
	}
	_ = f.Close()
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.open, f.partialLine = opened, false
	return nil
}

// Close closes the file. A later Write opens it again.
func (f *file) Close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}

// Cause returns why a line could not be written, as a word from a closed list.
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
