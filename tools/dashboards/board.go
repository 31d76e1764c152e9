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

// A board is one dashboard.
type board struct {
	uid, title, about string
	from              string // how far back it shows at first
	rows              []row
}

type row struct {
	title  string
	panels []panel
}

// A panel is lines over time, unless it is a number or a table of what is now.
type panel struct {
	title, about string // about is for whoever is on call: what it shows, and what to think of it
	unit         string // as Grafana names it
	kind         kind
	width        uint32   // of 24; 12 where none is given
	bad, least   float64  // red from bad on, and below least; 0 for no such bound
	states       []string // what 0, 1, 2 mean
	queries      []query
}

type kind int

const (
	lines kind = iota
	number
	columns
)

// A query is one expression. Its legend names the labels that tell its series apart; of columns it
// is the heading.
type query struct {
	expr, legend string
	exemplars    bool
}

// What is chosen at the top of every board. ours holds for what a process tells of itself, bank for
// what it tells of ASPSPs. A metric of the service's whole bears no ASPSP's id where the request
// named none: .* finds those too.
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

// ready is a panel that has been built.
type ready struct{ panel dashboard.Panel }

func (r ready) Build() (dashboard.Panel, error) { return r.panel, nil }

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func variables() []cog.Builder[dashboard.VariableModel] {
	ask := func(name, label, about, metric, of string) *dashboard.QueryVariableBuilder {
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
		ask("job", "Job", "What Prometheus calls the gateways.", "ais_audit_enabled", "job"),
		ask("aspsp", "ASPSP", "Banks by their ids: metrics have no names. Whose an id is stands in the configuration (aspsps) and at GET /v1/aspsps.",
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
	steps := []dashboard.Threshold{{Color: "green"}} // the first holds from minus infinity
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

// joined puts the queries of a table side by side, a row for each ASPSP, under their headings.
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

// hidden are the columns of the time, which Grafana numbers where there are several.
func hidden(n int) map[string]bool {
	all := map[string]bool{"Time": true}
	for i := range n {
		all[fmt.Sprintf("Time %d", i+1)] = true
	}
	return all
}
