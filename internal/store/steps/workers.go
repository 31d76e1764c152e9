package steps

import (
	"sync/atomic"
	"time"
)

const (
	// workerIdle is how long a worker without a job is kept.
	workerIdle = time.Hour
	// maxIdle is how many workers without a job are kept. More of them end when their job has ended.
	maxIdle = 256
)

// Workers run jobs on goroutines that are reused, because the stack of a new one has to grow first.
// Their number is not limited, so that jobs that wait for a server that does not respond delay no
// others. Workers are safe for concurrent use.
type Workers struct {
	jobs chan func()
	idle atomic.Int64
}

// NewWorkers returns Workers.
func NewWorkers() *Workers { return &Workers{jobs: make(chan func())} }

// Go runs a job, which must not panic, on an idle worker or on a new one. It does not wait.
func (w *Workers) Go(job func()) {
	select {
	case w.jobs <- job:
	default:
		go w.work(job)
	}
}

// work runs a job, and then others until there was none for a while, or until enough workers wait for
// one.
func (w *Workers) work(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(workerIdle)
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case job = <-w.jobs:
		case <-idle.C:
			job = nil
		}
		if w.idle.Add(-1); job == nil {
			return
		}
	}
}
