package steps

import "time"

// workerIdle is how long a worker without a job is kept.
const workerIdle = time.Hour

// Workers run jobs on goroutines that are reused, because the stack of a new one has to grow first.
// Their number is not limited, so that jobs that wait for a server that does not respond delay no
// others. Workers are safe for concurrent use.
type Workers struct{ jobs chan func() }

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
	for {
		job()
		idle.Reset(workerIdle)
		select {
		case job = <-w.jobs:
		case <-idle.C:
			return
		}
	}
}
