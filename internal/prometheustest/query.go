package prometheustest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Labels are the labels of a series by name. Label __name__ is the name of the metric.
type Labels map[string]string

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// UnmarshalJSON parses [seconds, "value"].
func (p *Point) UnmarshalJSON(text []byte) error {
	var seconds float64
	var value string
	if err := json.Unmarshal(text, &[]any{&seconds, &value}); err != nil {
		return err
	}
	var err error
	p.Time = time.UnixMilli(int64(seconds * 1000))
	p.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// Sample is a series with its current value.
type Sample struct {
	Labels Labels `json:"metric"`
	Point  Point  `json:"value"`
}

// Query returns the current samples of an expression. A scalar is one sample without labels.
func (s *Server) Query(expr string) []Sample {
	s.t.Helper()
	samples, err := s.TryQuery(expr)
	if err != nil {
		s.t.Fatalf("prometheus: %s: %v", expr, err)
	}
	return samples
}

// TryQuery is Query, but returns an error if Prometheus refuses the expression.
func (s *Server) TryQuery(expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := s.get("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType == "scalar" {
		one := make([]Sample, 1)
		return one, json.Unmarshal(data.Result, &one[0].Point)
	}
	var samples []Sample
	return samples, json.Unmarshal(data.Result, &samples)
}

// Value returns the value of an expression with exactly one sample. Any other number fails the
// test.
func (s *Server) Value(expr string) float64 {
	s.t.Helper()
	samples := s.Query(expr)
	if len(samples) != 1 {
		s.t.Fatalf("prometheus: %s has %d samples", expr, len(samples))
	}
	return samples[0].Point.Value
}

// Await waits until an expression has samples, and returns them. It fails the test after a minute.
func (s *Server) Await(expr string) []Sample {
	s.t.Helper()
	var samples []Sample
	s.eventually(expr+" has samples", func() error {
		if samples = s.Query(expr); len(samples) == 0 {
			return fmt.Errorf("none at %v", time.Now())
		}
		return nil
	})
	return samples
}

// Series is a series with its values over a period.
type Series struct {
	Labels Labels  `json:"metric"`
	Points []Point `json:"values"`
}

// Range returns the values of an expression between two times, at intervals of step.
func (s *Server) Range(expr string, from, to time.Time, step time.Duration) []Series {
	s.t.Helper()
	var data struct{ Result []Series }
	s.mustGet("query_range", url.Values{
		"query": {expr}, "start": {formatTime(from)}, "end": {formatTime(to)}, "step": {fmt.Sprintf("%dms", step.Milliseconds())},
	}, &data)
	return data.Result
}

// Exemplar is one observation of a series, with the trace that it belongs to.
type Exemplar struct {
	Series Labels
	Labels Labels // trace_id and span_id
	Value  float64
}

// Exemplars returns the exemplars of the series of an expression from the last hour.
func (s *Server) Exemplars(expr string) []Exemplar {
	s.t.Helper()
	var data []struct {
		SeriesLabels Labels
		Exemplars    []struct {
			Labels Labels
			Value  string
		}
	}
	now := time.Now()
	s.mustGet("query_exemplars", url.Values{
		"query": {expr}, "start": {formatTime(now.Add(-time.Hour))}, "end": {formatTime(now.Add(time.Minute))},
	}, &data)
	var all []Exemplar
	for _, series := range data {
		for _, e := range series.Exemplars {
			value, err := strconv.ParseFloat(e.Value, 64)
			if err != nil {
				s.t.Fatalf("prometheus: %v", err)
			}
			all = append(all, Exemplar{Series: series.SeriesLabels, Labels: e.Labels, Value: value})
		}
	}
	return all
}

// Rule is a rule of the rule files, with its state.
type Rule struct {
	Group     string `json:"-"`
	Name      string
	Query     string
	Type      string // alerting or recording
	Health    string // ok, err or unknown
	LastError string
	State     string // of an alerting rule: inactive, pending or firing
}

// Rules returns all rules. It waits until each was evaluated at least once.
func (s *Server) Rules() []Rule {
	s.t.Helper()
	var rules []Rule
	s.eventually("all rules are evaluated", func() error {
		var data struct {
			Groups []struct {
				Name  string
				Rules []Rule
			}
		}
		s.mustGet("rules", nil, &data)
		rules = rules[:0]
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				rule.Group = group.Name
				if rule.Health == "unknown" {
					return fmt.Errorf("%s is not evaluated yet", rule.Name)
				}
				rules = append(rules, rule)
			}
		}
		return nil
	})
	return rules
}

// Alert is an alert that is pending or firing.
type Alert struct {
	Labels, Annotations Labels
	State               string // pending or firing
}

// Alerts returns the alerts that are pending or firing now.
func (s *Server) Alerts() []Alert {
	s.t.Helper()
	var data struct{ Alerts []Alert }
	s.mustGet("alerts", nil, &data)
	return data.Alerts
}

// Target is a scraped endpoint.
type Target struct {
	URL       string `json:"scrapeUrl"`
	Labels    Labels
	Health    string // up, down or unknown
	LastError string
	Scraped   time.Time `json:"lastScrape"` // when the last scrape began
}

// Targets returns all scraped endpoints.
func (s *Server) Targets() []Target {
	s.t.Helper()
	var data struct{ ActiveTargets []Target }
	s.mustGet("targets", url.Values{"state": {"active"}}, &data)
	return data.ActiveTargets
}

// AwaitScrape waits until every target has been scraped after the call, and the samples are stored.
func (s *Server) AwaitScrape() {
	s.t.Helper()
	for range 2 { // the second scrape begins when the first has been stored
		since := time.Now()
		s.eventually("all targets are scraped again", func() error {
			for _, target := range s.Targets() {
				if !target.Scraped.After(since) || target.Health != "up" {
					return fmt.Errorf("%s: %s, %s", target.URL, target.Health, target.LastError)
				}
			}
			return nil
		})
	}
}

// Metadata is the description of a metric by a target.
type Metadata struct{ Type, Help, Unit string }

// Metadata returns the targets' descriptions of their metrics by name. As in OpenMetrics, the name
// of a counter has no suffix _total.
func (s *Server) Metadata() map[string][]Metadata {
	s.t.Helper()
	var data map[string][]Metadata
	s.mustGet("metadata", nil, &data)
	return data
}
