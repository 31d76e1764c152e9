package api

import (
	"cmp"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/render"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/event"
)

// progress is how far an aggregation has come: the audit records of its sources, and its stream. It
// has a lock, so that an Aggregator that still calls add after a panic does no harm.
type progress struct {
	planned string  // the outcome of all sources of a dry run; "" otherwise
	stream  *stream // nil without a stream

	mu      sync.Mutex
	ended   bool
	records []event.Request // of the sources; what they share with the request is missing
}

func (s *server) newProgress(a aggregation.Request) *progress {
	p := &progress{records: make([]event.Request, len(a.Sources))}
	if a.DryRun {
		p.planned = event.Planned
	}
	for i, source := range a.Sources {
		q := source.Query
		p.records[i] = event.Request{RequestedASPSP: q.ASPSP, Consent: canonical.Secret(q.Consent), Outcome: event.Unfinished}
		if aspsp, found := s.Gateway.ASPSP(q.ASPSP); found {
			p.records[i].ASPSP, p.records[i].Provider = aspsp.ID, aspsp.Provider
		}
	}
	return p
}

// add adds the result of a source, the first time that it is called for the source.
func (p *progress) add(s aggregation.SourceResult) {
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
	if p.stream != nil {
		p.stream.write(p.stream.renderer.SourceLine(s))
	}
}

// complete adds all results, and ends the stream. It fails if a line of the stream cannot be
// written as JSON.
func (p *progress) complete(result aggregation.Result, summary aggregation.Summary) error {
	for _, s := range result.Sources {
		p.add(s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if result.Replayed { // the slots are those of the request that is repeated
		for i := range p.records {
			p.records[i].Slots = 0
		}
	}
	if p.stream == nil {
		return nil
	}
	if p.stream.err == nil {
		p.stream.write(render.SummaryLine(summary), nil)
	}
	return p.stream.err
}

// end ends the progress, and returns the audit records of the sources of a request.
func (p *progress) end(request event.Request) []event.Request {
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

// stream writes the lines of a response. The status is 200 from the first line on.
type stream struct {
	c        *gin.Context
	request  *request
	renderer *render.Aggregation
	err      error // of a line that could not be written as JSON
}

// write writes a line, unless err says that there is none.
func (w *stream) write(line []byte, err error) {
	if err != nil {
		w.err = errBody
		return
	}
	if !w.c.Writer.Written() {
		w.request.setPreference(w.c)
		w.request.setHeader(w.c, "Content-Type", "application/x-ndjson")
		w.request.setHeader(w.c, "X-Accel-Buffering", "no")
		w.c.Status(http.StatusOK)
	}
	_, _ = w.c.Writer.Write(line) // fails only if the caller has closed the connection
	w.c.Writer.Flush()
}

// endStream ends a stream with the problem for err. It returns false if the response is not a
// stream, or if its caller has gone.
func (s *server) endStream(c *gin.Context, st *requestState, err error) bool {
	if st.progress == nil || st.progress.stream == nil {
		return false
	}
	e := st.canonicalError(c.Request.Context(), err)
	st.Code = string(e.Kind)
	if e.Kind == canonical.Canceled {
		return false
	}
	p := st.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.stream.write(render.ProblemLine(render.NewProblem(e, st.problemContext(p.stream.renderer.TraceID, s.Now))))
	return true
}
