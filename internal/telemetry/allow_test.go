package telemetry

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log" // its output is tested
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"ais-gateway/internal/event"
	"ais-gateway/internal/providers/upstream"
)

// Types of values that must not be logged.
type (
	holder struct{ Name, secret string }
	talker string
	valuer string
)

func (t talker) String() string                { return string(t) }
func (v valuer) LogValue() slog.Value          { return slog.StringValue(string(v)) }
func (h *holder) MarshalJSON() ([]byte, error) { return json.Marshal(h.secret) }

// logged returns one log line, as written and as an exported record.
func logged(t *testing.T, say func(*slog.Logger)) (line, record map[string]any, all string) {
	t.Helper()
	exp := &records{}
	tel, _, out := inMemory(t, exporters{logs: exp})
	say(tel.Logger())
	text := scrapeText(t, tel, "")
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || len(exp.got) != 1 {
		t.Fatalf("%v, %d records of %s", err, len(exp.got), out)
	}
	delete(line, "time")
	sent, err := json.Marshal(exp.got)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := line["dropped"].(float64)
	if !strings.Contains(text, `ais_telemetry_dropped_total{signal="log"} `+strconv.Itoa(int(n))+"\n") {
		t.Errorf("not %v attributes are counted", n)
	}
	return line, exp.got[0], out.String() + string(sent)
}

func TestLogAllowlist(t *testing.T) {
	held := &holder{canary, canary}
	for _, tt := range []struct {
		name string
		say  func(*slog.Logger)
		want map[string]any
	}{
		{
			name: "what is allowed",
			say: func(l *slog.Logger) {
				l.Info("m", "code", "X", "status", 7, "attended", true, "duration_ms", time.Second, "warnings", []string{"a"}, "client", "c")
			},
			want: map[string]any{"code": "X", "status": 7., "attended": true, "duration_ms": 1e9, "warnings": []any{"a"}, "client": "c"},
		},
		{name: "another key", say: func(l *slog.Logger) { l.Info("m", "code", "X", "iban", canary) }, want: map[string]any{"code": "X", "dropped": 1.}},
		{name: "a key in capitals", say: func(l *slog.Logger) { l.Info("m", []any{"Code", canary}...) }, want: map[string]any{"dropped": 1.}},
		{name: "a key that is ours to add", say: func(l *slog.Logger) { l.Info("m", "trace_id", canary) }, want: map[string]any{"dropped": 1.}},
		{name: "a value without a key", say: func(l *slog.Logger) { l.Info("m", []any{canary}...) }, want: map[string]any{"dropped": 1.}},
		{name: "an error", say: func(l *slog.Logger) { l.Info("m", "cause", errors.New(canary)) }, want: map[string]any{"dropped": 1.}},
		{name: "a structure", say: func(l *slog.Logger) { l.Info("m", "cause", holder{canary, canary}) }, want: map[string]any{"dropped": 1.}},
		{name: "a pointer", say: func(l *slog.Logger) { l.Info("m", "cause", held) }, want: map[string]any{"dropped": 1.}},
		{name: "bytes", say: func(l *slog.Logger) { l.Info("m", "cause", []byte(canary)) }, want: map[string]any{"dropped": 1.}},
		{name: "a list of anything", say: func(l *slog.Logger) { l.Info("m", "warnings", []any{canary}) }, want: map[string]any{"dropped": 1.}},
		{name: "what prints itself", say: func(l *slog.Logger) { l.Info("m", "cause", talker(canary)) }, want: map[string]any{"dropped": 1.}},
		{name: "what logs itself", say: func(l *slog.Logger) { l.Info("m", "cause", valuer(canary)) }, want: map[string]any{"dropped": 1.}},
		{name: "a group", say: func(l *slog.Logger) { l.Info("m", slog.Group("client", "code", canary)) }, want: map[string]any{"dropped": 1.}},
		{
			name: "a group without a name",
			say: func(l *slog.Logger) {
				l.Info("m", slog.Group("", "code", "X", "iban", canary, slog.Group("", "x", canary)))
			},
			want: map[string]any{"code": "X", "dropped": 2.},
		},
		{
			name: "in a group", say: func(l *slog.Logger) { l.WithGroup("code").With("client", canary).Info("m", "code", canary) },
			want: map[string]any{"dropped": 2.},
		},
		{
			name: "with", say: func(l *slog.Logger) { l.With("client", "c", "iban", canary).Info("m", "account", canary, "code", "X") },
			want: map[string]any{"client": "c", "code": "X", "dropped": 2.},
		},
		{
			name: "with what is not allowed", say: func(l *slog.Logger) { l.With("iban", canary).Info("m", "code", "X") },
			want: map[string]any{"code": "X", "dropped": 1.},
		},
		{
			name: "with what is nothing", say: func(l *slog.Logger) { l.With().WithGroup("").Info("m", slog.Attr{}) },
			want: map[string]any{},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line, record, all := logged(t, tt.say)
			tt.want["msg"], tt.want["level"] = "m", "INFO"
			if diff := cmp.Diff(tt.want, line); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
			for key := range record {
				if _, ok := tt.want[key]; !ok && !slices.Contains([]string{"body", "severity", "trace", "service"}, key) {
					t.Errorf("the record has %s", key)
				}
			}
			if strings.Contains(all, canary) {
				t.Errorf("it came out: %s", all)
			}
		})
	}
}

// Only listed attributes of spans are exported.
func TestSpanAllowlist(t *testing.T) {
	tel, spans, _ := inMemory(t, exporters{})
	state, err := trace.ParseTraceState("vendor=" + canary)
	if err != nil {
		t.Fatal(err)
	}
	far := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
	names := []struct{ name, want string }{
		{"GET /r", "GET /r"},
		{"HTTP", "HTTP"},
		{"aggregation source", "aggregation source"},
		{"aggregation source " + canary, "HTTP"},
		{"POST", "POST"},
		{"GET /v1/accounts/" + canary, "GET"},
		{"GET  /r", "GET"},
		{"DELETE /r " + canary, "DELETE"},
		{canary + " /r", "HTTP"},
		{"get /r", "HTTP"},
		{canary, "HTTP"},
		{"", "HTTP"},
	}
	for _, tt := range names {
		ctx := trace.ContextWithRemoteSpanContext(t.Context(), far)
		_, span := tel.tracer.Start(ctx, tt.name, trace.WithLinks(trace.Link{SpanContext: far, Attributes: []attribute.KeyValue{attribute.String("a", canary)}}))
		span.SetAttributes(
			attribute.String("url.path", canary), attribute.String("ais.cache", "hit"), attribute.String("http.route", canary),
			attribute.String("url.template", "/r"), attribute.StringSlice("error.type", []string{canary}), attribute.Int("http.response.status_code", 200),
		)
		span.AddEvent(canary, trace.WithAttributes(attribute.String("exception.message", canary)))
		span.RecordError(errors.New(canary))
		span.SetStatus(codes.Error, canary)
		span.End()
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != len(names) {
		t.Fatalf("%d spans", len(got))
	}
	for i, s := range got {
		want := spanContent{Name: names[i].want, Kind: trace.SpanKindInternal, Status: codes.Error, Attrs: map[string]any{
			"ais.cache": "hit", "url.template": "/r", "http.response.status_code": int64(200),
		}}
		if diff := cmp.Diff(want, contentOf(s)); diff != "" {
			t.Errorf("span %q (-want +got):\n%s", names[i].name, diff)
		}
		if len(s.Events)+len(s.Links)+s.SpanContext.TraceState().Len()+s.Parent.TraceState().Len() > 0 || s.Status.Description != "" {
			t.Errorf("span %q has more: %+v", names[i].name, s)
		}
		if s.SpanContext.TraceID() != far.TraceID() || s.Parent.SpanID() != far.SpanID() {
			t.Errorf("span %q lost its place", names[i].name)
		}
	}
	// Of each span three attributes, two events, a link and a description are dropped, and eight
	// names.
	if n := tel.droppedSpans.Load(); n != 12*7+8 {
		t.Errorf("%d are counted", n)
	}
}

// Metrics and their exemplars have only listed labels.
func TestMetricAllowlist(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	tel, _, _ := inMemory(t, exporters{reader: reader})
	ctx, end := tel.Request(t.Context(), "GET", hostile()) // sampled: there are exemplars
	planted := metric.WithAttributes(attribute.String("iban", canary), attribute.String("result", "hit"))
	tel.inst.cache.Add(ctx, 1, planted)
	tel.inst.serverDuration.Record(ctx, 1, planted)
	end(event.Request{Route: "/accounts/" + canary, Status: 200})
	_, called := tel.Call(ctx, upstream.Call{Method: "GET", Route: "/accounts/" + canary})
	called(200, "")
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	exported, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	scraped := scrapeText(t, tel, "application/openmetrics-text; version=1.0.0")
	for where, text := range map[string]string{"export": string(exported), "scrape": scraped} {
		if strings.Contains(text, canary) || strings.Contains(text, "iban") {
			t.Errorf("it came out in the %s:\n%s", where, text)
		}
		if !strings.Contains(text, "hit") {
			t.Errorf("the %s has no such metrics", where)
		}
	}
	if !strings.Contains(scraped, `# {span_id=`) && !strings.Contains(scraped, `# {trace_id=`) {
		t.Error("there are no exemplars to check")
	}
}

// Output of Go's libraries, for example net/http's with bytes of a provider, is suppressed. Lines
// of slog's default logger are written like all others.
func TestLibraryOutputIsSuppressed(t *testing.T) {
	silence(t)
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	out := &logOutput{}
	tel, err := Start(t.Context(), options(out))
	if err != nil {
		t.Fatal(err)
	}
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q", canary)
	slog.Info("by default", "code", "X", "iban", canary)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, `"msg":"library output suppressed"`) ||
		!strings.Contains(got, `"msg":"by default","code":"X","dropped":1}`) || strings.Contains(got, canary) {
		t.Errorf("logged %s", got)
	}
}

func TestListsAreAsDocumented(t *testing.T) {
	for head, keys := range map[string][]string{
		"key in lines": slices.Collect(maps.Keys(logKeys)),
		"attribute":    texts(slices.Collect(maps.Keys(spanKeys))),
	} {
		var documented []string
		for _, row := range table(t, head) {
			documented = append(documented, quoted(row[0])[0])
		}
		slices.Sort(documented)
		slices.Sort(keys)
		if diff := cmp.Diff(documented, keys); diff != "" {
			t.Errorf("docs/telemetry.md and the list differ (-documented +listed):\n%s", diff)
		}
	}
	for _, list := range []map[attribute.Key]string{spanKeys, labelKeys} {
		for key, meaning := range list {
			if meaning == "" {
				t.Errorf("%s has no meaning", key)
			}
		}
	}
}

func texts(keys []attribute.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = string(k)
	}
	return out
}

// Every key that the code logs is in the list, and every key of the list is used.
func TestKeysOfTheCode(t *testing.T) {
	used := map[string]bool{}
	for _, root := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					for _, key := range keysOf(call) {
						used[key] = true
						if logKeys[key] == "" && key != "trace_id" && key != "span_id" && key != "dropped" {
							t.Errorf("%s logs %q, which is not in the list", path, key)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range logKeys {
		if !used[key] {
			t.Errorf("%q is in the list, and nothing logs it", key)
		}
	}
}

// keysOf returns the keys that a call logs: in slog.String and similar functions, and in Info and
// similar methods of loggers.
func keysOf(call *ast.CallExpr) []string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	first, step := -1, 1
	if pkg, ok := method.X.(*ast.Ident); ok && pkg.Name == "slog" {
		switch method.Sel.Name {
		case "String", "Int", "Int64", "Uint64", "Bool", "Float64", "Duration", "Time", "Any", "Group":
			first, step = 0, len(call.Args)
		}
	}
	name := ""
	switch x := method.X.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	if l := strings.ToLower(name); l != "log" && l != "logger" {
		name = ""
	}
	if name == "" {
		return literals(call, first, step)
	}
	switch method.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
		first, step = 1, 2
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		first, step = 2, 2
	case "Log":
		first, step = 3, 2
	case "With":
		first, step = 0, 2
	}
	return literals(call, first, step)
}

// literals returns the string literals among the arguments at first, first+step and so on; nil if
// first is negative.
func literals(call *ast.CallExpr, first, step int) []string {
	var keys []string
	for i := first; first >= 0 && i < len(call.Args); i += step {
		if text, ok := call.Args[i].(*ast.BasicLit); ok && text.Kind == token.STRING {
			key, _ := strconv.Unquote(text.Value)
			keys = append(keys, key)
		}
	}
	return keys
}
