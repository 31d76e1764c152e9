package render

import (
	"slices"
	"strconv"
	"time"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/unattended"
)

// Aggregation renders the results of one aggregation: either as a body, or source by source as the
// lines of a stream. It is for one response.
type Aggregation struct {
	TraceID string
	ASPSP   func(id string) (gateway.ASPSPInfo, bool)
	Now     func() time.Time

	accounts map[identity][]place // to which sameAs may refer
	advice   advice               // of the problems that were rendered
}

// identity is what the same account has in all sources.
type identity struct{ iban, currency string }

// place is an account of a source.
type place struct {
	index int
	id    string
}

// Body returns the body with all results. It fails if a balance's time cannot be encoded.
func (a *Aggregation) Body(results []aggregation.SourceResult, s aggregation.Summary) ([]byte, error) {
	b, err := a.appendMembers([]byte{'{'}, results, s)
	return append(b, "}\n"...), err
}

// Failure returns the problem of an aggregation that failed, and its body, which has the members of
// Body too. It fails as Body does.
func (a *Aggregation) Failure(results []aggregation.SourceResult, s aggregation.Summary, pc ProblemContext) (Problem, []byte, error) {
	members, err := a.appendMembers([]byte{','}, results, s)
	if err != nil {
		return Problem{}, nil, err
	}
	p := NewProblem(canonical.NewError(canonical.AggregationFailed, ""), pc)
	a.advice.apply(&p)
	b, err := canonical.Encode(p)
	if err != nil {
		return Problem{}, nil, err
	}
	b = append(b[:len(b)-1], members...)
	return p, append(b, "}\n"...), nil
}

// Plan returns the body of a dry run.
func (a *Aggregation) Plan(results []aggregation.SourceResult) ([]byte, error) {
	b := []byte(`{"sources":[`)
	for i, s := range results {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendIndexed(b, s)
		b = append(appendCost(b, s.Cost), '}')
		aspsp, known := a.ASPSP(s.ASPSP)
		b = appendUsage(b, s, aspsp, known)
		var err error
		if b, err = a.appendFailure(b, "problem", s.Failure, a.context(s, aspsp)); err != nil {
			return b, err
		}
		b = append(b, '}')
	}
	return append(b, "]}\n"...), nil
}

// SourceLine returns the line of a source. Its sameAs refers to sources of earlier lines. It fails as
// Body does.
func (a *Aggregation) SourceLine(s aggregation.SourceResult) ([]byte, error) {
	b, err := a.appendSource([]byte(`{"source":`), s)
	a.index(s)
	return append(b, "}\n"...), err
}

// SummaryLine returns the last line of a stream.
func SummaryLine(s aggregation.Summary) []byte {
	b := appendSummary([]byte(`{"summary":{`), s)
	b = strconv.AppendBool(append(b, `,"satisfied":`...), s.Satisfied)
	return append(b, "}}\n"...)
}

// ProblemLine returns the last line of a stream that failed.
func ProblemLine(p Problem) ([]byte, error) {
	return JSON(struct {
		Problem Problem `json:"problem"`
	}{p})
}

// appendMembers appends the members of Body.
func (a *Aggregation) appendMembers(b []byte, results []aggregation.SourceResult, s aggregation.Summary) (_ []byte, err error) {
	for _, r := range results {
		a.index(r)
	}
	b = append(appendSummary(b, s), `,"sources":[`...)
	for i, r := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = a.appendSource(b, r); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

// appendSummary appends the members that a body and the last line of a stream share.
func appendSummary(b []byte, s aggregation.Summary) []byte {
	b = strconv.AppendBool(append(b, `"complete":`...), s.Complete)
	b = strconv.AppendBool(append(b, `,"fresh":`...), s.Fresh)
	b = append(b, `,"outcomes":`...)
	separator := byte('{')
	for _, o := range aggregation.Outcomes {
		b = canonical.AppendString(append(b, separator), string(o))
		b = strconv.AppendInt(append(b, ':'), int64(s.Outcomes[o]), 10)
		separator = ','
	}
	return append(b, '}')
}

// index makes sameAs refer to the accounts of a source.
func (a *Aggregation) index(s aggregation.SourceResult) {
	if a.accounts == nil {
		a.accounts = map[identity][]place{}
	}
	for _, account := range s.Accounts {
		if account.IBAN != "" && account.Currency != "" {
			id := identity{account.IBAN, account.Currency}
			a.accounts[id] = append(a.accounts[id], place{s.Index, account.ID})
		}
	}
}

// appendSource appends a source as an object.
func (a *Aggregation) appendSource(b []byte, s aggregation.SourceResult) (_ []byte, err error) {
	aspsp, known := a.ASPSP(s.ASPSP)
	pc := a.context(s, aspsp)
	ofAccount := pc
	ofAccount.HasAccount = true
	b = appendIndexed(b, s)
	b = canonical.AppendString(append(b, `,"outcome":`...), string(s.Outcome))
	b = canonical.AppendString(append(b, `,"requestId":`...), s.RequestID)
	if s.Accounts != nil {
		b = appendFreshness(b, "freshness", s.Freshness)
	}
	b = strconv.AppendInt(append(appendCost(b, s.Cost), `,"spent":`...), int64(s.Cost.Spent), 10)
	b = appendUsage(append(b, '}'), s, aspsp, known)
	b = append(b, `,"accounts":[`...)
	for i, account := range s.Accounts {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = a.appendAccount(b, s.Index, account, ofAccount); err != nil {
			return b, err
		}
	}
	b = append(b, ']')
	separator := `,"missingAccounts":[`
	for _, m := range s.Missing {
		b = canonical.AppendString(append(append(b, separator...), `{"accountId":`...), m.ID)
		if b, err = a.appendFailure(b, "problem", m.Failure, ofAccount); err != nil {
			return b, err
		}
		b, separator = append(b, '}'), ","
	}
	if len(s.Missing) > 0 {
		b = append(b, ']')
	}
	b, err = a.appendFailure(b, "problem", s.Failure, pc)
	return append(b, '}'), err
}

// context returns what the problems of a source show.
func (a *Aggregation) context(s aggregation.SourceResult, aspsp gateway.ASPSPInfo) ProblemContext {
	return ProblemContext{
		RequestID: s.RequestID, TraceID: a.TraceID, ASPSP: s.ASPSP, Provider: s.Provider, Aggregated: true,
		Policy: aspsp.Unattended, Usage: s.Usage, Now: a.Now,
	}
}

// appendIndexed appends the beginning of a source's object.
func appendIndexed(b []byte, s aggregation.SourceResult) []byte {
	b = strconv.AppendInt(append(b, `{"index":`...), int64(s.Index), 10)
	b = canonical.AppendString(append(b, `,"ref":`...), s.Ref)
	b = canonical.AppendString(append(b, `,"aspspId":`...), s.ASPSP)
	if s.Provider != "" {
		b = canonical.AppendString(append(b, `,"provider":`...), s.Provider)
	}
	return b
}

// appendCost appends the beginning of the member cost: the plan.
func appendCost(b []byte, c aggregation.Cost) []byte {
	b = strconv.AppendInt(append(b, `,"cost":{"min":`...), int64(c.Min), 10)
	b = append(b, `,"max":`...)
	if c.Max == nil {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(*c.Max), 10)
}

// appendUsage appends the member unattended, unless the source is attended or its ASPSP unknown.
// Without a usage, no call remains.
func appendUsage(b []byte, s aggregation.SourceResult, aspsp gateway.ASPSPInfo, known bool) []byte {
	if s.Attended || !known {
		return b
	}
	u := s.Usage
	if u == nil {
		u = &unattended.Usage{}
	}
	b = strconv.AppendInt(append(b, `,"unattended":{"limit":`...), int64(aspsp.Unattended.Limit), 10)
	b = strconv.AppendInt(append(b, `,"remaining":`...), int64(u.Remaining), 10)
	b = append(b, `,"nextSlotAt":`...)
	if next := nextSlot(*u); !next.IsZero() {
		return append(canonical.AppendString(b, formatTime(next)), '}')
	}
	return append(b, "null}"...)
}

// appendAccount appends an account with its balances. JSON of the account is an object.
func (a *Aggregation) appendAccount(b []byte, index int, account aggregation.Account, pc ProblemContext) (_ []byte, err error) {
	b = append(b, account.JSON[:len(account.JSON)-1]...)
	separator := `,"sameAs":[`
	for _, p := range a.accounts[identity{account.IBAN, account.Currency}] {
		if p.index == index {
			continue
		}
		b = strconv.AppendInt(append(append(b, separator...), `{"index":`...), int64(p.index), 10)
		b = append(canonical.AppendString(append(b, `,"accountId":`...), p.id), '}')
		separator = ","
	}
	if separator == "," {
		b = append(b, ']')
	}
	switch {
	case !account.Selected:
	case account.Failure != nil:
		b, err = a.appendFailure(append(b, `,"balances":null`...), "balancesProblem", account.Failure, pc)
	default:
		if b, err = appendBalances(b, account.Balances); err == nil {
			b = appendFreshness(b, "balancesFreshness", account.Freshness)
		}
	}
	return append(b, '}'), err
}

// appendFailure appends the problem of a failure as the member name; nothing for nil.
func (a *Aggregation) appendFailure(b []byte, name string, e *canonical.Error, pc ProblemContext) ([]byte, error) {
	if e == nil {
		return b, nil
	}
	if problems[e.Kind].title == "" { // canceled, or stored by a gateway of a later version
		e = canonical.NewError(canonical.InternalError, "")
	}
	p := NewProblem(e, pc)
	a.advice.add(p)
	text, err := canonical.Encode(p)
	return append(append(append(append(b, `,"`...), name...), `":`...), text...), err
}

// advice is what several problems advise together.
type advice struct {
	action  string // "" without problems
	waits   bool   // every problem has a Retry-After
	longest int64  // the latest Retry-After
}

// actions lists the actions of sources in the order in which one stands for all.
var actions = []string{fixRequest, refreshAccounts, renewConsent, contactSupport, retryAttended, retryLater}

// add adds a problem.
func (a *advice) add(p Problem) {
	first := a.action == ""
	if first || slices.Index(actions, p.Action) < slices.Index(actions, a.action) {
		a.action = p.Action
	}
	a.waits = p.RetryAfter > 0 && (first || a.waits)
	a.longest = max(a.longest, p.RetryAfter)
}

// apply makes a problem advise the same. It is retryable only if all are, because the actions that
// are not come first.
func (a advice) apply(p *Problem) {
	if a.action == "" {
		return
	}
	p.Action, p.Retryable = a.action, a.action == retryAttended || a.action == retryLater
	if a.waits {
		p.RetryAfter = a.longest
	}
}
