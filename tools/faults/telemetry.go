package main

// telemetryFaults are those of internal/telemetry, internal/audit and internal/recovery.
var telemetryFaults = []fault{
	{
		name: "telemetry-label-of-the-consent",
		file: "internal/telemetry/request.go",
		old: `		attrs := append(t.aspsp(r.ASPSP), known)
`, new: `		hash := uint64(14695981039346656037)
		for _, b := range []byte(header.Get("Consent-ID")) {
			hash = (hash ^ uint64(b)) * 1099511628211
		}
		attrs := append(t.aspsp(r.ASPSP), known, semconv.ServerAddress(strconv.FormatUint(hash, 16)))
`,
		packages: []string{"./test/deploy"},
		run:      "^TestSeriesDoNotGrow$",
	},
	{
		name: "telemetry-disabled-in-one-spelling",
		file: "internal/telemetry/otelenv/judge.go",
		old:  `case "true", "1", "yes", "on", "t", "y":`, new: `case "true":`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestTelemetrySwitchedOff$",
	},
	{
		name: "telemetry-starts-with-any-setting",
		file: "internal/telemetry/export.go",
		old:  `if f.Stops && !disabled {`, new: `if f.Stops && disabled {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestTelemetrySettingsThatStopTheStart$",
	},
	{
		name: "telemetry-setting-passed-over",
		file: "internal/telemetry/export.go",
		old:  `log.Warn("invalid telemetry setting", "setting", f.Name, "cause", f.Detail)`, new: `_ = f.Detail`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestUnusableTelemetrySettings$",
	},
	{
		name: "telemetry-any-status-as-a-label",
		file: "internal/telemetry/request.go",
		old:  `known := status == gone || http.StatusText(status) != ""`, new: `known := status == gone || status > 0`,
		packages: []string{"./test/deploy"},
		run:      "^TestSeriesDoNotGrow$",
	},
	{
		name: "telemetry-label-that-no-page-names",
		file: "internal/telemetry/request.go",
		old:  `attrs := append(t.aspsp(c.ASPSP), known)`, new: `attrs := append(t.aspsp(c.ASPSP), known, resultKey.String("hit"))`,
		packages: []string{"./test/deploy"},
		run:      "^TestTelemetryArrives$",
	},
	{
		name: "telemetry-trace-not-continued",
		file: "internal/telemetry/request.go",
		old:  `ctx = t.propagator.Extract`, new: `_ = t.propagator.Extract`,
		packages: []string{"./test/deploy"},
		run:      "^TestTelemetryArrives$/^traces$",
	},
	{
		name: "telemetry-without-exemplars",
		file: "internal/telemetry/telemetry.go",
		old:  `EnableOpenMetrics: true`, new: `EnableOpenMetrics: false`,
		packages: []string{"./test/deploy"},
		run:      "^TestTelemetryArrives$/^exemplars$",
	},
	{
		name: "telemetry-collector-holds-up-requests",
		file: "internal/telemetry/telemetry.go",
		old:  `sdktrace.WithBatcher(`, new: `sdktrace.WithSyncer(`,
		packages: []string{"./test/deploy"},
		run:      "^TestCollectorIsAway$",
	},
	{
		name: "telemetry-log-keys-not-asked",
		file: "internal/telemetry/filter.go",
		old:  `!h.grouped && logKeys[a.Key] != "" && plain(a.Value)`, new: `!h.grouped && plain(a.Value)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-keys-in-groups",
		file: "internal/telemetry/filter.go",
		old:  `!h.grouped && logKeys[a.Key]`, new: `logKeys[a.Key]`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-values-of-all-kinds",
		file: "internal/telemetry/filter.go",
		old:  ` && plain(a.Value):`, new: `:`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-values-that-write-themselves",
		file: "internal/telemetry/filter.go",
		old: `	case slog.KindGroup, slog.KindLogValuer:
`, new: `	case slog.KindGroup:
	case slog.KindLogValuer:
		return true
`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-with-not-asked",
		file: "internal/telemetry/filter.go",
		old: `	kept, dropped := h.sift(attrs...)
`, new: `	kept, dropped := attrs, int64(0)
`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-drops-in-silence",
		file: "internal/telemetry/filter.go",
		old: `		out.AddAttrs(slog.Int64("dropped", dropped))
`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-log-drops-not-counted",
		file: "internal/telemetry/filter.go",
		old: `		h.lost.logs.Add(dropped)
`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-records-not-filtered",
		file: "internal/telemetry/telemetry.go",
		old:  `t.log = slog.New(allowed{next: slog.NewMultiHandler(local.next, sent), lost: local.lost})`, new: `t.log = slog.New(slog.NewMultiHandler(local, sent))`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-spans-not-filtered",
		file: "internal/telemetry/telemetry.go",
		old:  `sdktrace.WithBatcher(sifted{exp, t})`, new: `sdktrace.WithBatcher(exp)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-keys-not-asked",
		file: "internal/telemetry/filter.go",
		old:  `spanKeys[a.Key] != "" && scalar(a.Value)`, new: `scalar(a.Value)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-lists-exported",
		file: "internal/telemetry/filter.go",
		old:  ` && scalar(a.Value) && `, new: ` && `,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-any-template",
		file: "internal/telemetry/filter.go",
		old:  ` && (!isTemplate(a.Key) || t.knows(a.Value.AsString()))`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-any-name",
		file: "internal/telemetry/filter.go",
		old:  `	if routed && !t.knows(template) {`, new: `	if routed && template == "" {`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-any-method",
		file: "internal/telemetry/filter.go",
		old:  `	if verb != anyMethod && !slices.Contains(methods, verb) {`, new: `	if verb == "" {`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-events-kept",
		file: "internal/telemetry/filter.go",
		old: `func (tellable) Events() []sdktrace.Event           { return nil }
`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-links-kept",
		file: "internal/telemetry/filter.go",
		old: `func (tellable) Links() []sdktrace.Link             { return nil }
`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-span-description-kept",
		file: "internal/telemetry/filter.go",
		old:  `sdktrace.Status{Code: s.ReadOnlySpan.Status().Code}`, new: `s.ReadOnlySpan.Status()`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-tracestate-kept",
		file: "internal/telemetry/filter.go",
		old:  `return stateless(s.ReadOnlySpan.SpanContext())`, new: `return s.ReadOnlySpan.SpanContext()`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-tracestate-of-the-parent-kept",
		file: "internal/telemetry/filter.go",
		old:  `return stateless(s.ReadOnlySpan.Parent())`, new: `return s.ReadOnlySpan.Parent()`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-any-label",
		file: "internal/telemetry/telemetry.go",
		old: `		sdkmetric.WithView(labelled),
`, new: ``,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-labels-in-exemplars",
		file: "internal/telemetry/filter.go",
		old: `v exemplar.Value, _ []attribute.KeyValue) {
	b.Reservoir.Offer(ctx, at, v, nil)`, new: `v exemplar.Value, filtered []attribute.KeyValue) {
	b.Reservoir.Offer(ctx, at, v, filtered)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-problem-names-an-unrecorded-trace",
		file: "internal/telemetry/request.go",
		old:  `	if !s.IsSampled() {`, new: `	if !s.IsValid() {`,
		packages: []string{"./internal/telemetry"},
		run:      "^TestTraceID$",
	},
	{
		name: "telemetry-any-route-as-a-label",
		file: "internal/telemetry/request.go",
		old:  `		if t.knows(r.Route) {`, new: `		if r.Route != "" {`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-any-route-of-a-provider",
		file: "internal/telemetry/request.go",
		old:  `	if t.knows(c.Route) {`, new: `	if c.Route != "" {`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "telemetry-libraries-print",
		file: "internal/telemetry/telemetry.go",
		old:  `	log.SetOutput(hushed{t.log})`, new: `	_ = hushed{t.log}; _ = log.SetOutput`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "canary-libraries-print",
		file: "internal/telemetry/telemetry.go",
		old: `	slog.SetDefault(t.log)
	log.SetOutput(hushed{t.log})`, new: `	_ = hushed{t.log}; _ = log.SetOutput`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-consent-hashed-without-key",
		file: "internal/audit/audit.go",
		old:  `	return hex.EncodeToString(mac.Sum(nil)[:16])`, new: `	sum := sha256.Sum256([]byte(consent))
	return hex.EncodeToString(sum[:16])`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "audit-consent-unhashed",
		file: "internal/audit/audit.go",
		old:  `ConsentHash: l.consentHash(r.Asked, r.Consent)`, new: `ConsentHash: r.Consent`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-hash-of-the-consent-alone",
		file: "internal/audit/audit.go",
		old:  `l.Pseudonym(aspsp, canonical.FoldID(consent))`, new: `l.Pseudonym("", canonical.FoldID(consent))`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-hash-by-spelling",
		file: "internal/audit/audit.go",
		old:  `canonical.FoldID(consent)`, new: `canonical.FoldID(consent[:1]) + consent[1:]`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-hash-without-lengths",
		file: "internal/audit/audit.go",
		old: `		mac.Write(length[:])
`, new: ``,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-off-in-silence",
		file: "internal/audit/audit.go",
		old: `		c.Logger.Warn("audit records are off")
`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAuditSinks$",
	},
	{
		name: "audit-off-looks-on",
		file: "internal/audit/audit.go",
		old:  `State{Enabled: l.Sink != nil, `, new: `State{Enabled: true, `,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAuditSinks$",
	},
	{
		name: "audit-losses-not-counted",
		file: "internal/audit/audit.go",
		old: `	l.failures += lost
`, new: ``,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-complains-each-time",
		file: "internal/audit/audit.go",
		old:  `now.Sub(l.told) < complainEvery`, new: `now.Sub(l.told) < 0`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-start-sees-no-fault",
		file: "internal/audit/audit.go",
		old:  `		if err := f.Ready(); err != nil {`, new: `		if err := f.Ready(); err != nil && l.Refuse {`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-file-not-followed",
		file: "internal/audit/sink.go",
		old:  `err == nil && os.SameFile(mine, there) {`, new: `err == nil && mine != nil {`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-file-for-everybody",
		file: "internal/audit/sink.go",
		old:  `0o600`, new: `0o644`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-file-written-anew",
		file: "internal/audit/sink.go",
		old:  `os.O_WRONLY|os.O_APPEND|os.O_CREATE`, new: `os.O_WRONLY|os.O_TRUNC|os.O_CREATE`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-waits-for-a-pipe",
		file: "internal/audit/sink.go",
		old:  `there.Mode()&fs.ModeCharDevice == 0`, new: `there.IsDir()`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-torn-line-goes-on",
		file: "internal/audit/sink.go",
		old: `		f.torn = line[n-1] != '\n'
`, new: `		f.torn = false
`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-lines-at-once",
		file: "internal/audit/audit.go",
		old: `	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
`, new: `	if err == nil {
`,
		packages: []string{"./internal/audit"},
		run:      "^TestManyAtOnce$",
		race:     true,
	},
	{
		name: "rescue-shows-what",
		file: "internal/recovery/rescue.go",
		old: `	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	}`, new: `	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	} else if text, ok := value.(string); ok {
		what = text
	}`,
		packages: []string{"./internal/recovery"},
	},
	{
		name: "telemetry-counters-not-at-0",
		file: "internal/telemetry/metrics.go",
		old:  `	t.zero()`, new: ``,
		packages: []string{"./internal/telemetry"},
		run:      "^TestCountersBeginAtZero$",
	},
	{
		name: "telemetry-commands-of-any-name",
		file: "internal/telemetry/redis.go",
		old:  `semconv.DBOperationName(oneOf(commands, name))`, new: `semconv.DBOperationName(name)`,
		packages: []string{"./internal/telemetry"},
		run:      "^TestCommands$",
	},
	{
		name: "telemetry-command-faults-of-any-kind",
		file: "internal/telemetry/redis.go",
		old:  `	if fault != "" && !slices.Contains(commandFaults, fault) {`, new: `	if slices.Contains(commandFaults, "") {`,
		packages: []string{"./internal/telemetry"},
		run:      "^TestCommands$",
	},
	{
		name: "telemetry-units-of-any-aspsp",
		file: "internal/telemetry/fleet.go",
		old:  `			if t.aspsps[id] && slices.Contains(unitStates, state) {`, new: `			if slices.Contains(unitStates, state) {`,
		packages: []string{"./internal/telemetry"},
		run:      "^TestFleet$",
	},
	{
		name: "reads-refused-by-the-bank-took-none",
		file: "internal/telemetry/fleet.go",
		old: `	case slots > 0:
		use = slotUses[0]
	case refused:
		use = slotUses[2]
`, new: `	case refused:
		use = slotUses[2]
	case slots > 0:
		use = slotUses[0]
`,
		packages: []string{"./internal/telemetry"},
		run:      "^TestFleet$",
	},
	{
		name: "renew-label-of-anything",
		file: "internal/telemetry/secrets.go",
		old:  `partKey.String(oneOf(t.secrets, part))`, new: `partKey.String(part)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "metric-renamed-under-boards",
		file: "internal/telemetry/metrics.go",
		old:  `"ais.cache.results"`, new: `"ais.cache.outcomes"`,
		packages: []string{"./test/deploy"},
		run:      "^TestBoardsHaveData$",
	},
}
