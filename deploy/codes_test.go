package deploy_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/breaker"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

var codesPattern = regexp.MustCompile(`error_type(=~|!~|=)"([^"]*)"`)

// matches reports whether an expression selects a code by one of its matchers that are not negated.
func matches(expr, code string) bool {
	for _, m := range codesPattern.FindAllStringSubmatch(expr, -1) {
		if m[1] != "!~" && regexp.MustCompile("^(?:"+m[2]+")$").MatchString(code) {
			return true
		}
	}
	return false
}

// targets returns the expressions of the panels with a title, by their legends.
func targets(t *testing.T, title string) map[string]string {
	t.Helper()
	exprs := map[string]string{}
	for _, b := range boardsOf(t) {
		for _, p := range b.Shown() {
			if p.Title == title {
				for _, q := range p.Targets {
					exprs[q.Legend] = q.Expr
				}
			}
		}
	}
	return exprs
}

// TestCodesCount: the expressions for availability count every code of the API as docs/design.md
// says.
func TestCodesCount(t *testing.T) {
	page, err := os.ReadFile("../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.HasPrefix(cells[1], " counted as ") {
			counts[strings.TrimSpace(cells[1])] = strings.Fields(strings.ReplaceAll(cells[2], "`", " "))
		}
	}
	_, records := rulesOf(t)
	exprs := map[string]string{}
	for _, r := range records {
		if strings.Contains(r.Record, "failed") {
			exprs[r.Record+" of deploy/helm/ais-gateway/files/rules.yaml"] = r.Expr
		}
	}
	for _, expr := range targets(t, "Availability") {
		exprs["own and meant of tools/dashboards/codes.go"] = expr
	}
	if len(exprs) != 8 {
		t.Fatalf("found %d expressions of availability, want 8", len(exprs))
	}
	for _, k := range canonical.Kinds() {
		code := string(k)
		all := slices.Concat(counts["counted as failed"], counts["counted as answered"], counts["counted as nothing"])
		if n := len(slices.DeleteFunc(all, func(c string) bool { return c != code })); n != 1 {
			t.Errorf("%s is in %d rows of the table in docs/design.md, section What counts; it must be in one", code, n)
		}
		for name, expr := range exprs {
			for _, m := range codesPattern.FindAllStringSubmatch(expr, -1) {
				want := slices.Contains(counts["counted as failed"], code)
				if m[1] == "!~" {
					want = slices.Contains(counts["counted as nothing"], code)
				}
				if regexp.MustCompile("^(?:"+m[2]+")$").MatchString(code) != want {
					t.Errorf("%s is not counted as in docs/design.md: correct %s", code, name)
				}
			}
		}
	}
	for name, expr := range exprs {
		if !matches(expr, "_OTHER") || !matches(expr, "500") {
			t.Errorf("requests without a code do not count as failed in %s", name)
		}
	}
}

// TestOrigins: the panel of errors by origin shows every code once, UNATTENDED_LIMIT by its two
// origins.
func TestOrigins(t *testing.T) {
	origins := targets(t, "Errors by origin")
	if len(origins) != 6 {
		t.Fatalf("found %d origins, want 6", len(origins))
	}
	for _, k := range canonical.Kinds() {
		var matching []string
		for legend, expr := range origins {
			if matches(expr, string(k)) || !codesPattern.MatchString(expr) && strings.HasSuffix(legend, ": "+string(k)) {
				matching = append(matching, legend)
			}
		}
		slices.Sort(matching)
		if both := []string{"aspsp: UNATTENDED_LIMIT", "gateway: UNATTENDED_LIMIT"}; len(matching) != 1 && !slices.Equal(matching, both) {
			t.Errorf("the origins of %s are %q, want one: correct byRequest, byGateway, byProvider and byASPSP in tools/dashboards/codes.go, and run make dashboards",
				k, matching)
		}
	}
}

// TestASPSPFailures: the failures of ASPSPs in rules and dashboards are the codes that the breaker
// counts as failures.
func TestASPSPFailures(t *testing.T) {
	_, records := rulesOf(t)
	exprs := map[string]string{}
	for _, r := range records {
		if strings.Contains(r.Record, "aspsp_failures") || strings.Contains(r.Record, "attended_failures") {
			exprs[r.Record+" of deploy/helm/ais-gateway/files/rules.yaml"] = r.Expr
		}
	}
	for _, title := range []string{"ASPSPs", "Share of calls that failed"} {
		for legend, expr := range targets(t, title) {
			if codesPattern.MatchString(expr) {
				exprs[fmt.Sprintf("aspspFailed of tools/dashboards/aspsps.go (panel %s, %s), and run make dashboards", title, legend)] = expr
			}
		}
	}
	if len(exprs) != 4 {
		t.Fatalf("found %d expressions of ASPSPs' failures, want 4", len(exprs))
	}
	for _, k := range canonical.Kinds() {
		want := opensBreaker(k)
		for name, expr := range exprs {
			if matches(expr, string(k)) != want {
				t.Errorf("%s counts as a failure of the ASPSP: %t for the breaker, %t here: correct %s", k, want, !want, name)
			}
		}
	}
}

// opensBreaker reports whether responses of status 500 that have a kind open the breaker.
func opensBreaker(k canonical.Kind) bool {
	settings := config.ASPSPDefaults().Breaker
	b := breaker.New(settings, time.Minute, func() time.Time { return time.Time{} }, func(breaker.State) {})
	for i := range settings.ConsecutiveFailures {
		_ = b.Do(fmt.Sprint("consent ", i), func() error {
			return &canonical.Error{Kind: k, Upstream: canonical.NewUpstreamError(http.StatusInternalServerError, "", "")}
		})
	}
	return b.State() == breaker.Open
}
