package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/api/parse"
	"ais-gateway/internal/api/progress"
	"ais-gateway/internal/api/render"
	"ais-gateway/internal/bulkhead"
	"ais-gateway/internal/canonical"
)

// responseTime is how long the response to an aggregation may take to be written after the wait
// time.
const responseTime = 30 * time.Second

// members has the members of a source that stand for headers of other endpoints.
var members = map[string]string{"Consent-ID": "consentId", "Provider-Authorization": "providerAuthorization"}

// parseBody parses the body of an aggregation, and returns its faults, those under the requirements
// of the sources' providers included.
func (s *server) parseBody(c *gin.Context, r *request) []canonical.FieldError {
	if r.preferences.Encoded {
		return nil
	}
	a, faults := parse.Aggregation(c.Request.Body, r.query, r.RequestID)
	for i, source := range a.Sources {
		var missing []canonical.FieldError
		for _, f := range s.Gateway.Check(source.Query) {
			pointer := "/sources/" + strconv.Itoa(i) + "/" + members[f.Name]
			missing = append(missing, canonical.FieldError{In: "body", Name: pointer, Detail: f.Detail})
		}
		faults = appendMissing(faults, missing, r.endpoint)
	}
	a.Client, a.Control, a.Wait, a.Key, a.Stream = r.client, r.cacheControl, r.preferences.Wait, r.key, r.preferences.Stream
	r.aggregation = a
	return faults
}

// aggregate responds to an aggregation.
func (s *server) aggregate(c *gin.Context, r *request) error {
	ctx, a := c.Request.Context(), r.aggregation
	if !s.Auditor.Reserve(len(a.Sources)) {
		return s.overloaded(ctx, r.requestState, bulkhead.Audit, "the audit records of the sources cannot be kept at the moment")
	}
	renderer := &render.Aggregation{TraceID: s.Observer.TraceID(ctx), ASPSP: s.Gateway.ASPSP, Now: s.Now}
	var write func([]byte)
	if r.preferences.Stream && !a.DryRun {
		write = func(line []byte) { r.writeLine(c, line) }
	}
	r.progress = progress.New(a, s.Gateway.ASPSP, renderer, write)
	// Of net/http's clock: the connection has no other.
	deadline := time.Now().Add(a.Wait + responseTime)                   //nolint:forbidigo // a deadline of the connection
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(deadline) // fails only outside of a server
	result, err := s.Aggregator.Aggregate(ctx, a, r.progress.Add)
	if err != nil {
		return err
	}
	summary := a.Summarize(result.Sources)
	if r.progress.Complete(result, summary) != nil {
		return errBody
	}
	if r.progress.Streams() {
		return nil
	}
	r.setPreference(c)
	if result.Replayed {
		r.setHeader(c, "Cache-Status", "ais-gateway; hit; detail=replayed")
	}
	return s.writeAggregation(c, r, renderer, result, summary)
}

// setPreference confirms a valid wait (RFC 7240, section 3).
func (r *request) setPreference(c *gin.Context) {
	if r.preferences.Waits {
		r.setHeader(c, "Preference-Applied", "wait="+strconv.Itoa(int(r.preferences.Wait/time.Second)))
	}
}

// writeAggregation writes the response to an aggregation that is not streamed.
func (s *server) writeAggregation(c *gin.Context, r *request, renderer *render.Aggregation, result aggregation.Result, summary aggregation.Summary) error {
	if a := r.aggregation; a.DryRun || summary.Satisfied {
		return writeBody(c, r.requestState, func([]byte) ([]byte, error) {
			if a.DryRun {
				return renderer.Plan(result.Sources)
			}
			return renderer.Body(result.Sources, summary)
		})
	}
	p, body, err := renderer.Failure(result.Sources, summary, r.problemContext(renderer.TraceID, s.Now))
	if err != nil {
		return errBody
	}
	r.Code = p.Code
	writeProblem(c, r.requestState, p, body)
	return nil
}

// writeLine writes a line of a stream. The status is 200 from the first line on.
func (r *request) writeLine(c *gin.Context, line []byte) {
	if !c.Writer.Written() {
		r.setPreference(c)
		r.setHeader(c, "Content-Type", "application/x-ndjson")
		r.setHeader(c, "X-Accel-Buffering", "no")
		c.Status(http.StatusOK)
	}
	_, _ = c.Writer.Write(line) // fails only if the caller has closed the connection
	c.Writer.Flush()
}

// endStream ends a stream with the problem for err. It returns false if the response is not a
// stream, or if its caller has gone.
func (s *server) endStream(c *gin.Context, st *requestState, err error) bool {
	if !st.progress.Streams() {
		return false
	}
	e := st.canonicalError(c.Request.Context(), err)
	st.Code = string(e.Kind)
	if e.Kind == canonical.Canceled {
		return false
	}
	st.progress.Fail(render.NewProblem(e, st.problemContext(s.Observer.TraceID(c.Request.Context()), s.Now)))
	return true
}
