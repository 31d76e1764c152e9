package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"ais-gateway/deploy"
)

func boardsOf(t *testing.T) []deploy.Board {
	t.Helper()
	boards, err := deploy.Boards()
	if err != nil {
		t.Fatal(err)
	}
	return boards
}

// TestPanelsAreComplete: every panel has a unique title, a description, a unit, and queries with
// legends.
func TestPanelsAreComplete(t *testing.T) {
	uids := map[string]bool{}
	for _, b := range boardsOf(t) {
		if uids[b.UID] || b.Description == "" {
			t.Errorf("%s: the uid %q is not unique, or the description is missing", b.Title, b.UID)
		}
		uids[b.UID] = true
		var names []string
		for _, v := range b.Templating.List {
			names = append(names, v.Name)
		}
		if !slices.Equal(names, []string{"datasource", "job", "aspsp"}) {
			t.Errorf("%s: the variables are %q", b.Title, names)
		}
		titles := map[string]bool{}
		for _, p := range b.Shown() {
			if p.Title == "" || titles[p.Title] || len(p.Description) < 20 || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
				t.Errorf("%s: the panel %q lacks a unique title, a description, a unit or a query", b.Title, p.Title)
			}
			titles[p.Title] = true
			for _, q := range p.Targets {
				if q.Legend == "" {
					t.Errorf("%s: %s of %q has no legend", b.Title, q.RefID, p.Title)
				}
				if quantile := strings.Contains(q.Expr, "histogram_quantile"); q.Range && quantile != q.Exemplar {
					t.Errorf("%s: %s of %q: exemplars are %t", b.Title, q.RefID, p.Title, q.Exemplar)
				}
			}
		}
	}
}
