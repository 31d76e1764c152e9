package steps

import (
	"sync/atomic"
	"time"
)

const (
	// workerIdle is how long a worker without a job is kept.
	workerIdle = 2 * time.Second
	// kept workers wait for a job for keptIdle, so that the first requests after a quiet time start none.
	kept     = 4
	keptIdle = time.Hour
)

// Workers run jobs on goroutines that are reused, because the stack of a new one has to grow first.
// Their number is not limited, so that jobs that wait for a server that does not respond delay no
// others. Workers are safe for concurrent use.
type Workers struct {
	jobs chan func()
	idle atomic.Int64 // workers that wait for a job
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

// work runs a job, and then others until there was none for a while.
func (w *Workers) work(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for job != nil {
		job()
		var others int64
		if job, others = w.wait(idle, workerIdle); job == nil && others < kept {
			job, _ = w.wait(idle, keptIdle)
		}
	}
}

// wait waits for a job. Without one in time, it returns nil. others is how many other workers wait.
func (w *Workers) wait(idle *time.Timer, timeout time.Duration) (job func(), others int64) {
	idle.Reset(timeout)
	w.idle.Add(1)
	select {
	case job = <-w.jobs:
	case <-idle.C:
	}
	return job, w.idle.Add(-1)
}
