package deploy

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"
)

//go:embed grafana/*.json
var boardFiles embed.FS

//go:embed helm/ais-gateway/files/rules.yaml
var rulesFile []byte

// A Board is a Grafana dashboard, with the fields that tests need.
type Board struct {
	UID, Title, Description string
	Panels                  []Panel
	Templating              struct{ List []Variable }
}

// A Panel is one panel of a board, or a row of panels.
type Panel struct {
	Type, Title, Description string
	Targets                  []Query
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

// A Query is one query of a panel.
type Query struct {
	RefID, Expr string
	Legend      string `json:"legendFormat"`
	Exemplar    bool
	Range       bool
}

// A Variable is a variable of a board, for which the user picks a value.
type Variable struct{ Name, Type, Query, AllValue string }

// Shown returns the panels that show data, without the rows.
func (b Board) Shown() []Panel {
	return slices.DeleteFunc(slices.Clone(b.Panels), func(p Panel) bool { return p.Type == "row" })
}

// Boards returns the Grafana dashboards.
func Boards() ([]Board, error) {
	var boards []Board
	for _, name := range []string{"service", "aspsps", "unattended", "redis"} {
		text, err := boardFiles.ReadFile("grafana/" + name + ".json")
		if err != nil {
			return nil, err
		}
		var b Board
		if err := json.Unmarshal(text, &b); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		boards = append(boards, b)
	}
	return boards, nil
}

// A Rule is a rule for Prometheus, recording or alerting.
type Rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// String returns the alert's name, severity and window, which identify the rule.
func (r Rule) String() string { return r.Alert + r.Labels["severity"] + r.Labels["window"] }

// Rules returns the alerting and the recording rules.
func Rules() (alerts, records []Rule, err error) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []Rule
		}
	}
	if err := yaml.Unmarshal(rulesFile, &file); err != nil {
		return nil, nil, err
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			} else {
				records = append(records, r)
			}
		}
	}
	if len(alerts) < 20 || len(records) < 10 {
		return nil, nil, fmt.Errorf("the file has %d alerts and %d recording rules", len(alerts), len(records))
	}
	return alerts, records, nil
}
