// Package progress follows an aggregation while it runs: it keeps the audit records of its sources, and
// makes the lines of its stream.
package progress

import (
	"cmp"
	"sync"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
	"ais-gateway/internal/gateway"
)

// Progress is how far an aggregation has come. It is safe for concurrent use, so that an aggregator
// that still calls Add after a panic does no harm.
type Progress struct {
	planned  string              // the outcome of all sources of a dry run; "" otherwise
	write    func(line []byte)   // nil without a stream
	renderer *render.Aggregation // of the stream

	mu      sync.Mutex
	ended   bool
	err     error           // of the stream: a line that cannot be written as JSON
	records []event.Request // of the sources; what they share with the request is missing
}

// New returns the progress of an aggregation. aspsp returns a configured ASPSP. write writes a line of
// the response; nil without a stream.
func New(a aggregation.Request, aspsp func(id string) (gateway.ASPSPInfo, bool), renderer *render.Aggregation, write func(line []byte)) *Progress {
	p := &Progress{records: make([]event.Request, len(a.Sources)), renderer: renderer, write: write}
	if a.DryRun {
		p.planned = event.Planned
	}
	for i, source := range a.Sources {
		q := source.Query
		p.records[i] = event.Request{RequestedASPSP: q.ASPSP, Consent: canonical.Secret(q.Consent), Outcome: event.Unfinished}
		if configured, found := aspsp(q.ASPSP); found {
			p.records[i].ASPSP, p.records[i].Provider = configured.ID, configured.Provider
		}
	}
	return p
}

// Streams reports whether the response is a stream. A nil *Progress has none.
func (p *Progress) Streams() bool { return p != nil && p.write != nil }

// Add adds the result of a source, the first time that it is called for the source, and writes its
// line.
func (p *Progress) Add(s aggregation.SourceResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.records[s.Index]
	if p.ended || r.Outcome != event.Unfinished {
		return
	}
	r.Outcome, r.Slots = cmp.Or(p.planned, string(s.Outcome)), s.Cost.Spent
	if s.Failure != nil {
		r.Code, r.Cause = string(s.Failure.Kind), s.Failure.Detail
	}
	if p.write != nil {
		p.writeLine(p.renderer.SourceLine(s))
	}
}

// writeLine writes a line, or records that it cannot be written.
func (p *Progress) writeLine(line []byte, err error) {
	if err != nil {
		p.err = err
		return
	}
	p.write(line)
}

// Complete adds all results, and writes the last line of the stream. It fails if a line cannot be
// written as JSON.
func (p *Progress) Complete(result aggregation.Result, summary aggregation.Summary) error {
	for _, s := range result.Sources {
		p.Add(s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if result.Replayed { // the slots are those of the request that is repeated
		for i := range p.records {
			p.records[i].Slots = 0
		}
	}
	if p.write != nil && p.err == nil {
		p.write(render.SummaryLine(summary))
	}
	return p.err
}

// Fail ends the stream with a problem.
func (p *Progress) Fail(problem render.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.writeLine(render.ProblemLine(problem))
}

// End ends the progress, and returns the audit records of the sources of a request. A nil *Progress
// has none.
func (p *Progress) End(request event.Request) []event.Request {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for i, own := range p.records {
		r := request
		r.RequestedASPSP, r.Consent, r.ASPSP, r.Provider = own.RequestedASPSP, own.Consent, own.ASPSP, own.Provider
		r.Outcome, r.Slots, r.Waited, r.AuditReserved = own.Outcome, own.Slots, 0, true
		if own.Outcome != event.Unfinished {
			r.Code, r.Cause = own.Code, own.Cause
		}
		p.records[i] = r
	}
	return p.records
}
