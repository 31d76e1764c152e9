package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// A board is one Grafana dashboard.
type board struct {
	uid, title, about string
	from              string // the default start of the time range
	rows              []row
}

type row struct {
	title  string
	panels []panel
}

// A panel shows lines over time, or the current values as a number or a table.
type panel struct {
	title, about string // about is for operators on call: what the panel shows, and what it means
	unit         string // as Grafana names it
	kind         kind
	width        uint32   // of 24 columns; 0 means 12
	bad, least   float64  // values from bad on, or below least, are red; 0 means no bound
	states       []string // texts for the values 0, 1, 2
	queries      []query
}

type kind int

const (
	lines kind = iota
	number
	columns
)

// A query is one expression. Its legend contains the labels that distinguish its series; in a table
// it is the heading of the column.
type query struct {
	expr, legend string
	exemplars    bool
}

// Label matchers for the variables of every board. ours is for metrics of a process, bank for
// metrics with the label ais_aspsp_id. The label is missing for requests without an ASPSP; the
// value .* of the variable matches those too.
const (
	ours = `job=~"$job"`
	bank = ours + `,ais_aspsp_id=~"$aspsp"`
)

const height = 8

func (b board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder(b.title).Uid(b.uid).Description(b.about).Tags([]string{"ais-gateway"}).
		Time(b.from, "now").Refresh("30s").Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("AIS Gateway").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"ais-gateway"}).IncludeVars(true).KeepTime(true))
	for _, v := range variables() {
		d = d.WithVariable(v)
	}
	id := uint32(0)
	for _, r := range b.rows {
		id++
		d = d.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		for _, p := range r.panels {
			id++
			built, err := p.build(id)
			if err != nil {
				return dashboard.Dashboard{}, fmt.Errorf("%s: %w", p.title, err)
			}
			d = d.WithPanel(ready{built})
		}
	}
	return d.Build()
}

// ready is a built panel. It implements cog.Builder.
type ready struct{ panel dashboard.Panel }

func (r ready) Build() (dashboard.Panel, error) { return r.panel, nil }

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func variables() []cog.Builder[dashboard.VariableModel] {
	query := func(name, label, about, metric, of string) *dashboard.QueryVariableBuilder {
		all := dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{String: cog.ToPtr("All")},
			Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
		}
		return dashboard.NewQueryVariableBuilder(name).Label(label).Description(about).Datasource(source()).
			Query(dashboard.StringOrMap{String: cog.ToPtr(fmt.Sprintf("label_values(%s, %s)", metric, of))}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
			Multi(true).IncludeAll(true).Current(all)
	}
	return []cog.Builder[dashboard.VariableModel]{
		dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"),
		query("job", "Job", "What Prometheus calls the gateways.", "ais_audit_enabled", "job"),
		query("aspsp", "ASPSP", "Banks by their ids: metrics have no names. Whose an id is stands in the configuration (aspsps) and at GET /v1/aspsps.",
			"ais_breaker_state{"+ours+"}", "ais_aspsp_id").AllValue(".*"),
	}
}

func (p panel) build(id uint32) (dashboard.Panel, error) {
	width := p.width
	if width == 0 {
		width = 12
	}
	switch p.kind {
	case number:
		b := stat.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source()).Height(height).Span(width).
			Unit(p.unit).Thresholds(p.thresholds()).Mappings(p.mappings()).
			Orientation(common.VizOrientationAuto).ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
		for i, q := range p.queries {
			b = b.WithTarget(q.target(i).Instant())
		}
		return b.Build()
	case columns:
		b := table.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source()).Height(height).Span(width).
			Unit(p.unit).Thresholds(p.thresholds()).Mappings(p.mappings())
		for _, t := range p.joined() {
			b = b.WithTransformation(t)
		}
		for i, q := range p.queries {
			b = b.WithTarget(q.target(i).Instant().Format(prometheus.PromQueryFormatTable))
		}
		return b.Build()
	case lines:
	}
	b := timeseries.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Datasource(source()).Height(height).Span(width).
		Unit(p.unit).Min(0).Thresholds(p.thresholds()).Mappings(p.mappings()).LineWidth(1).FillOpacity(10).
		ShowPoints(common.VisibilityModeAuto).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range p.queries {
		b = b.WithTarget(q.target(i).Range())
	}
	return b.Build()
}

func (q query) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source()).Expr(q.expr).
		LegendFormat(q.legend).Exemplar(q.exemplars).EditorMode(prometheus.QueryEditorModeCode)
}

func (p panel) thresholds() *dashboard.ThresholdsConfigBuilder {
	steps := []dashboard.Threshold{{Color: "green"}} // the first applies from minus infinity
	if p.least > 0 {
		steps = []dashboard.Threshold{{Color: "red"}, {Value: cog.ToPtr(p.least), Color: "green"}}
	}
	if p.bad > 0 {
		steps = append(steps, dashboard.Threshold{Value: cog.ToPtr(p.bad), Color: "red"})
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func (p panel) mappings() []dashboard.ValueMapping {
	if p.states == nil {
		return nil
	}
	m := dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: map[string]dashboard.ValueMappingResult{}}
	for i, text := range p.states {
		m.Options[fmt.Sprint(i)] = dashboard.ValueMappingResult{Text: cog.ToPtr(text), Index: cog.ToPtr(int32(i))}
	}
	return []dashboard.ValueMapping{{ValueMap: &m}}
}

// joined returns the transformations that join the queries of a table by ASPSP and name the
// columns.
func (p panel) joined() []dashboard.DataTransformerConfig {
	names := map[string]string{"ais_aspsp_id": "ASPSP"}
	for i, q := range p.queries {
		names[fmt.Sprintf("Value #%c", 'A'+i)] = q.legend
	}
	return []dashboard.DataTransformerConfig{
		{Id: "joinByField", Options: map[string]any{"byField": "ais_aspsp_id", "mode": "outer"}},
		{Id: "organize", Options: map[string]any{"renameByName": names, "excludeByName": hidden(len(p.queries))}},
	}
}

// hidden returns the time columns of n queries, which Grafana numbers if there are several.
func hidden(n int) map[string]bool {
	all := map[string]bool{"Time": true}
	for i := range n {
		all[fmt.Sprintf("Time %d", i+1)] = true
	}
	return all
}
