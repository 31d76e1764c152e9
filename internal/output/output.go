// Package output writes lines to standard output, standard error or a file without blocking the
// writer. A slow reader or a hanging disk must not delay a request, a probe or the end of the
// process. A queue of limited size holds the lines until its goroutine writes them. A line that
// does not fit is dropped and counted.
package output

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// maxReused is the capacity in bytes up to which a batch's memory is always reused. More is
	// reused if a quarter of it was needed.
	maxReused = 64 << 10
	// retryEvery is the pause before a failed write is retried, with Config.Keep.
	retryEvery = time.Second
	// CloseTimeout is the time that Close takes at most.
	CloseTimeout = time.Second
)

var (
	// ErrFull means that a line was dropped because the queue was full.
	ErrFull = errors.New("the queue is full")
	// ErrClosed means that a line was dropped because the queue was closed.
	ErrClosed = errors.New("the queue is closed")
)

// Config configures a Queue.
type Config struct {
	To   io.Writer
	Room int  // capacity in bytes
	Keep bool // retry failed writes every second; otherwise their lines are lost
}

// Queue writes the lines of its writers in order.
type Queue struct {
	Config
	end  chan struct{} // closed by Close
	done chan struct{} // closed when run returns

	mu       sync.Mutex
	filled   sync.Cond // next has lines, or the queue is closed
	next     batch
	used     int // bytes waiting or being written
	reserved int // bytes reserved for later lines
	closed   bool
}

// batch is the text of one write.
type batch struct {
	text  []byte
	lines []line
}

// line is one line of a batch.
type line struct {
	end    int // offset in the text
	writer *Writer
}

// New returns a Queue and starts its goroutine, which Close ends.
func New(c Config) *Queue {
	q := &Queue{Config: c, end: make(chan struct{}), done: make(chan struct{})}
	q.filled.L = &q.mu
	go q.run()
	return q
}

// Writer writes lines into a queue and counts its own lost lines. It is safe for concurrent use.
type Writer struct {
	queue     *Queue
	lost      func(err error, lines int64)
	recovered func(lost int64)

	mu      sync.Mutex
	total   int64 // lines lost since the start
	gap     int64 // lines lost since the last written line
	failing bool
}

// Writer returns a new writer. lost is called with the number of accepted lines that could not be
// written, or with 0 if a queue with Keep cannot write them now. recovered is called when a line is
// written after lost lines, with their number. Both are optional, and may write into the queue.
func (q *Queue) Writer(lost func(err error, lines int64), recovered func(lost int64)) *Writer {
	return &Writer{queue: q, lost: lost, recovered: recovered}
}

// State is the current state of a writer.
type State struct {
	Lost    int64 // lines lost since the start
	Failing bool  // the last line was lost, or cannot be written now
}

// State returns the current state.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{Lost: w.total, Failing: w.failing}
}

// Write adds one line to the queue and does not block. With ErrFull or ErrClosed the line is lost.
func (w *Writer) Write(text []byte) (int, error) { return w.write(text, 0) }

// Reserve reserves space for one line of up to size bytes. It returns false if there is no space.
// Each successful Reserve must be followed by one WriteReserved.
func (w *Writer) Reserve(size int) bool {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.used+q.reserved+size > q.Room {
		return false
	}
	q.reserved += size
	return true
}

// WriteReserved is Write for a line for which size bytes are reserved. A longer line is accepted
// too.
func (w *Writer) WriteReserved(text []byte, size int) (int, error) { return w.write(text, size) }

func (w *Writer) write(text []byte, reserved int) (int, error) {
	if err := w.queue.add(w, text, reserved); err != nil {
		w.lose(1)
		return 0, err
	}
	return len(text), nil
}

// add adds a line to the next batch, for which reserved bytes are reserved.
func (q *Queue) add(w *Writer, text []byte, reserved int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reserved -= reserved
	switch {
	case q.closed:
		return ErrClosed
	case reserved == 0 && q.used+q.reserved+len(text) > q.Room:
		return ErrFull
	}
	q.next.text = append(q.next.text, text...)
	q.next.lines = append(q.next.lines, line{len(q.next.text), w})
	q.used += len(text)
	q.filled.Signal()
	return nil
}

// run writes batches until the queue is closed and empty.
func (q *Queue) run() {
	defer close(q.done)
	var now batch
	for {
		q.mu.Lock()
		for len(q.next.lines) == 0 && !q.closed {
			q.filled.Wait()
		}
		now, q.next = q.next, now.emptied()
		q.mu.Unlock()
		if len(now.lines) == 0 {
			return
		}
		q.write(now)
	}
}

// emptied returns an empty batch with the memory of b, unless that is large and was not needed.
func (b batch) emptied() batch {
	if cap(b.text) > max(maxReused, 4*len(b.text)) {
		return batch{}
	}
	return batch{b.text[:0], b.lines[:0]}
}

// write writes a batch and reports its lost lines.
func (q *Queue) write(b batch) {
	from, rest := 0, b.lines
	for len(rest) > 0 {
		n, err := q.To.Write(b.text[from:])
		written := 0
		for written < len(rest) && (err == nil || rest[written].end <= from+n) {
			written++
		}
		start := from
		if written > 0 {
			from = rest[written-1].end
		}
		q.mu.Lock()
		q.used -= from - start
		q.mu.Unlock()
		each(rest[:written], func(w *Writer, _ int64) { w.wrote() })
		rest = rest[written:]
		if err != nil && len(rest) > 0 && !q.waitForRetry(rest, err) {
			q.mu.Lock()
			q.used -= len(b.text) - from
			q.mu.Unlock()
			return
		}
	}
}

// waitForRetry waits before a retry of lines that could not be written. It returns false if they
// are lost: without Keep, or if the queue is closed.
func (q *Queue) waitForRetry(rest []line, err error) bool {
	if q.Keep {
		each(rest, func(w *Writer, _ int64) { w.fail(err, 0) })
		select {
		case <-time.After(retryEvery):
			return true
		case <-q.end:
		}
	}
	each(rest, func(w *Writer, n int64) { w.fail(err, n) })
	return false
}

// each calls do for each run of lines of the same writer, with its length.
func each(lines []line, do func(w *Writer, n int64)) {
	for start, i := 0, 1; i <= len(lines); i++ {
		if w := lines[start].writer; i == len(lines) || lines[i].writer != w {
			do(w, int64(i-start))
			start = i
		}
	}
}

// lose counts n lost lines; with 0 the writer is failing without a loss.
func (w *Writer) lose(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = true
	w.total += n
	w.gap += n
}

// fail counts n lost lines and reports them.
func (w *Writer) fail(err error, n int64) {
	w.lose(n)
	if w.lost != nil {
		w.lost(err, n)
	}
}

// wrote records that a line was written.
func (w *Writer) wrote() {
	w.mu.Lock()
	gap := w.gap
	w.failing, w.gap = false, 0
	w.mu.Unlock()
	if gap > 0 && w.recovered != nil {
		w.recovered(gap)
	}
}

// Close accepts no more lines and writes the waiting ones. It returns after CloseTimeout with an
// error that has the number of lost bytes if they are not written by then.
func (q *Queue) Close() error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.end)
		q.filled.Signal()
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-time.After(CloseTimeout):
		q.mu.Lock()
		defer q.mu.Unlock()
		return fmt.Errorf("%d bytes of output could not be written before the end", q.used)
	}
}
