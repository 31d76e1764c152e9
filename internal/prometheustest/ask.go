package prometheustest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Labels are those of a series; __name__ is its name.
type Labels map[string]string

// A Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// UnmarshalJSON reads [seconds, "value"].
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

// A Sample is a series and its value now.
type Sample struct {
	Labels Labels `json:"metric"`
	Point  Point  `json:"value"`
}

// Query is what an expression is worth now. That of a scalar is one sample without labels.
func (s *Server) Query(expr string) []Sample {
	s.t.Helper()
	samples, err := s.TryQuery(expr)
	if err != nil {
		s.t.Fatalf("prometheus: %s: %v", expr, err)
	}
	return samples
}

// TryQuery is Query for an expression that Prometheus may refuse.
func (s *Server) TryQuery(expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := s.ask("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType == "scalar" {
		one := make([]Sample, 1)
		return one, json.Unmarshal(data.Result, &one[0].Point)
	}
	var samples []Sample
	return samples, json.Unmarshal(data.Result, &samples)
}

// Value is that of an expression with one sample; any other number fails the test.
func (s *Server) Value(expr string) float64 {
	s.t.Helper()
	samples := s.Query(expr)
	if len(samples) != 1 {
		s.t.Fatalf("prometheus: %s has %d samples", expr, len(samples))
	}
	return samples[0].Point.Value
}

// Await waits until an expression has samples, and returns them. It fails the test after 30 s.
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

// A Series is what an expression was worth over a time.
type Series struct {
	Labels Labels  `json:"metric"`
	Points []Point `json:"values"`
}

// Range is what an expression was worth between two times, at steps.
func (s *Server) Range(expr string, from, to time.Time, step time.Duration) []Series {
	s.t.Helper()
	var data struct{ Result []Series }
	s.mustAsk("query_range", url.Values{
		"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {fmt.Sprintf("%dms", step.Milliseconds())},
	}, &data)
	return data.Result
}

// An Exemplar is one observation that a series was given for an example.
type Exemplar struct {
	Series Labels
	Labels Labels // trace_id and span_id
	Value  float64
}

// Exemplars are those kept for the series of an expression in the last hour.
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
	s.mustAsk("query_exemplars", url.Values{
		"query": {expr}, "start": {stamp(now.Add(-time.Hour))}, "end": {stamp(now.Add(time.Minute))},
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

// A Rule is one of the files' rules, alerting or recording.
type Rule struct {
	Group     string `json:"-"`
	Name      string
	Query     string
	Type      string // alerting or recording
	Health    string // ok, err or unknown
	LastError string
	State     string // of an alert: inactive, pending or firing
}

// Rules are those of the files, each judged at least once.
func (s *Server) Rules() []Rule {
	s.t.Helper()
	var rules []Rule
	s.eventually("all rules are judged", func() error {
		var data struct {
			Groups []struct {
				Name  string
				Rules []Rule
			}
		}
		s.mustAsk("rules", nil, &data)
		rules = rules[:0]
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				rule.Group = group.Name
				if rule.Health == "unknown" {
					return fmt.Errorf("%s is not", rule.Name)
				}
				rules = append(rules, rule)
			}
		}
		return nil
	})
	return rules
}

// An Alert is one that is pending or fires.
type Alert struct {
	Labels, Annotations Labels
	State               string // pending or firing
}

// Alerts are those that are pending or fire now.
func (s *Server) Alerts() []Alert {
	s.t.Helper()
	var data struct{ Alerts []Alert }
	s.mustAsk("alerts", nil, &data)
	return data.Alerts
}

// A Target is what is scraped.
type Target struct {
	URL       string `json:"scrapeUrl"`
	Labels    Labels
	Health    string // up, down or unknown
	LastError string
	Scraped   time.Time `json:"lastScrape"` // when the last scrape began
}

// Targets are all that are scraped.
func (s *Server) Targets() []Target {
	s.t.Helper()
	var data struct{ ActiveTargets []Target }
	s.mustAsk("targets", url.Values{"state": {"active"}}, &data)
	return data.ActiveTargets
}

// Scraped returns once every target has been asked, and its answer been kept, since it was called.
func (s *Server) Scraped() {
	s.t.Helper()
	for range 2 { // the second begins once the first has been kept
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

// Metadata is what a target says of a metric.
type Metadata struct{ Type, Help, Unit string }

// Metadata is what targets say of their metrics, by name. A counter's name is without _total, as OpenMetrics has it.
func (s *Server) Metadata() map[string][]Metadata {
	s.t.Helper()
	var data map[string][]Metadata
	s.mustAsk("metadata", nil, &data)
	return data
}
