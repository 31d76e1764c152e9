// Package output writes lines to standard output, standard error or a file without ever making who writes wait: a reader that
// does not read, or a disk that hangs, must not hold up a request, a probe or the end of the process. Lines wait in a queue
// of bounded size for the one goroutine that writes them. What does not fit is dropped and counted. cmd opens the queues, and
// telemetry and audit write into them.
package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// spare is the capacity in bytes up to which the buffers of a batch are kept for the next one.
	spare = 64 << 10
	// retryEvery is the pause before a batch that could not be written is tried again, in queues that keep it.
	retryEvery = time.Second
)

var (
	// ErrFull says that a line was dropped because the queue had no room.
	ErrFull = errors.New("the queue is full")
	// ErrClosed says that a line came after the end of the queue.
	ErrClosed = errors.New("the queue is closed")
)

// Config is what a queue is made of.
type Config struct {
	To   io.Writer
	Room int  // bytes of lines that may wait
	Keep bool // lines that cannot be written are kept and tried again each second; else they are lost
}

// A Queue writes the lines of its writers one after the other, in the order in which they came.
type Queue struct {
	Config
	wake chan struct{}
	end  chan struct{} // closed by Close
	done chan struct{} // closed when nothing is written any more

	mu       sync.Mutex
	next     batch
	used     int // bytes that wait or are being written
	reserved int // bytes for lines that will come
	closed   bool
}

// A batch is text that is written at once.
type batch struct {
	text  []byte
	lines []line
}

// A line is one of a batch: its end in the text, and who wrote it.
type line struct {
	end int
	of  *Writer
}

// New starts a queue. Close ends it.
func New(c Config) *Queue {
	q := &Queue{Config: c, wake: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// A Writer is one of those who write into a queue, with its own count of what it lost. It is safe for concurrent use.
type Writer struct {
	queue *Queue
	lost  func(err error, lines int64)
	back  func(lost int64)

	mu      sync.Mutex
	total   int64 // lines lost since the start
	gap     int64 // lines lost since the last one that was written
	failing bool
}

// Writer returns a new writer. lost is called for lines that could not be written although Write had taken them, or, with 0,
// when a queue that keeps them cannot write; back when a line was written again after lines were lost, with their number.
// Either may be nil. They may write into the queue.
func (q *Queue) Writer(lost func(err error, lines int64), back func(lost int64)) *Writer {
	return &Writer{queue: q, lost: lost, back: back}
}

// State is how it stands with a writer's lines.
type State struct {
	Lost    int64 // since the start
	Failing bool  // the last line was lost, or cannot be written now
}

// State returns how it stands now.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return State{Lost: w.total, Failing: w.failing}
}

// Write takes one line, and returns at once. Its error, ErrFull or ErrClosed, says that the line is lost.
func (w *Writer) Write(text []byte) (int, error) { return w.write(text, 0) }

// Reserve keeps room for one line of up to size bytes, and reports whether there is any. Reserved returns the room.
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

// Reserved returns a writer of one line for which Reserve has kept room of that size. The line is taken even if it is longer.
func (w *Writer) Reserved(size int) io.Writer { return reserved{w, size} }

type reserved struct {
	*Writer
	size int
}

func (r reserved) Write(text []byte) (int, error) { return r.write(text, r.size) }

func (w *Writer) write(text []byte, room int) (int, error) {
	if err := w.queue.take(w, text, room); err != nil {
		w.lose(1)
		return 0, err
	}
	return len(text), nil
}

// take puts a line into the next batch.
func (q *Queue) take(w *Writer, text []byte, room int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reserved -= room
	switch {
	case q.closed:
		return ErrClosed
	case room == 0 && q.used+q.reserved+len(text) > q.Room:
		return ErrFull
	}
	q.next.text = append(q.next.text, text...)
	q.next.lines = append(q.next.lines, line{len(q.next.text), w})
	q.used += len(text)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

func (q *Queue) run() {
	defer close(q.done)
	var now batch
	for {
		closed := false
		select {
		case <-q.wake:
		case <-q.end:
			closed = true
		}
		for {
			q.mu.Lock()
			now, q.next = q.next, now.emptied()
			q.mu.Unlock()
			if len(now.lines) == 0 {
				break
			}
			q.write(now)
		}
		if closed {
			return
		}
	}
}

// emptied is the batch's memory for the next one, unless it is large.
func (b batch) emptied() batch {
	if cap(b.text) > spare {
		return batch{}
	}
	clear(b.lines[:cap(b.lines)])
	return batch{b.text[:0], b.lines[:0]}
}

// write writes a batch, and counts what of it is lost.
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
		if err != nil && len(rest) > 0 && !q.again(rest, err) {
			q.mu.Lock()
			q.used -= len(b.text) - from
			q.mu.Unlock()
			return
		}
	}
}

// again reports whether lines that could not be written are to be tried once more, after a pause; if not, they are lost.
func (q *Queue) again(rest []line, err error) bool {
	if q.Keep {
		each(rest, func(w *Writer, _ int64) { w.fails(err, 0) })
		select {
		case <-time.After(retryEvery):
			return true
		case <-q.end:
		}
	}
	each(rest, func(w *Writer, n int64) { w.fails(err, n) })
	return false
}

// each calls do for every writer of the lines, with the number of its lines.
func each(lines []line, do func(w *Writer, n int64)) {
	counts := map[*Writer]int64{}
	for _, l := range lines {
		counts[l.of]++
	}
	for w, n := range counts {
		do(w, n)
	}
}

func (w *Writer) lose(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = true
	w.total += n
	w.gap += n
}

func (w *Writer) fails(err error, n int64) {
	w.lose(n)
	if w.lost != nil {
		w.lost(err, n)
	}
}

func (w *Writer) wrote() {
	w.mu.Lock()
	gap := w.gap
	w.failing, w.gap = false, 0
	w.mu.Unlock()
	if gap > 0 && w.back != nil {
		w.back(gap)
	}
}

// Close writes what waits, for as long as ctx allows, and takes no more. Its error says how many lines are lost.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.end)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		q.mu.Lock()
		defer q.mu.Unlock()
		return fmt.Errorf("%d bytes of output could not be written before the end", q.used)
	}
}
