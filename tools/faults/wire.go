package main

// wireFaults are those of internal/providers/upstream.
var wireFaults = []fault{
	{
		name: "url-escape-missing",
		file: "internal/providers/upstream/decode.go",
		old:  `url.PathEscape(s)`, new: `s`,
		packages: []string{"./internal/providers/upstream", "./internal/providers/mypos"},
	},
	{
		name: "json-duplicates-accepted",
		file: "internal/providers/upstream/shape.go",
		old:  `if bytes.EqualFold(name, other) {`, new: `if false && bytes.EqualFold(name, other) {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-attended-counted",
		file: "internal/providers/upstream/upstream.go",
		old: `	if q.Attended() {
		send = c.sendAttended
	}
`, new: `	_ = c.sendAttended
`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-unattended-not-counted",
		file: "internal/providers/upstream/upstream.go",
		old: `	send := c.sendUnattended
	if q.Attended() {`, new: `	send := c.sendUnattended
	if true {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-hidden-retry",
		file: "internal/providers/upstream/upstream.go",
		old: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
`, new: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
	if failure != nil && went.connected() {
		if again, f := c.request(own, r, bytes.NewReader(r.Body)); f == nil {
			answer, went, failure = c.exchange(own, c.unattended, again, q, r, 1)
		}
	}
`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-connection-reused",
		file: "internal/providers/upstream/transport.go",
		old: `	t.DisableKeepAlives = true
`, new: ``,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-given-back-after-sending",
		file: "internal/providers/upstream/upstream.go",
		old:  `	if !went.connected() {`, new: `	if failure != nil || !went.connected() {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-never-given-back",
		file: "internal/providers/upstream/upstream.go",
		old:  `	if !went.connected() {`, new: `	if went.connected() && false {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-call-ends-with-its-caller",
		file: "internal/providers/upstream/upstream.go",
		old:  `own, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)`, new: `own, cancel := context.WithDeadline(ctx, deadline)`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-refusal-does-not-close",
		file: "internal/providers/upstream/upstream.go",
		old:  `		if left, err := c.wire.Counter.Close(context.WithoutCancel(ctx), counted(q, r), failure.RetryAfter); err == nil {`, new: `		if left, err := failure.RetryAfter, error(nil); err == nil {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-attended-refusal-closes",
		file: "internal/providers/upstream/upstream.go",
		old:  `if failure.Attended || c.wire.Counter == nil {`, new: `if c.wire.Counter == nil {`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-names-itself",
		file: "internal/providers/upstream/upstream.go",
		old: `	req.Header["User-Agent"] = []string{""} // net/http would name itself
`, new: ``,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-body-unbounded",
		file: "internal/providers/upstream/content.go",
		old:  `	case len(raw) > maxBody:`, new: `	case false:`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-no-counter-calls",
		file: "internal/providers/upstream/upstream.go",
		old: `		return unattended.Slot{}, canonical.Fail(canonical.CounterUnavailable, "there is no counter of unattended calls")
`, new: `		return unattended.Slot{}, nil
`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "telemetry-trace-sent-to-providers",
		file: "internal/providers/upstream/upstream.go",
		old:  `	req.Header["User-Agent"] = []string{""} // net/http would name itself`,
		new: `	req.Header["User-Agent"] = []string{""}
	req.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")`,
		packages: []string{"./test/deploy"},
		run:      "^TestTelemetryArrives$/^nothing_is_sent_on$",
	},
	{
		name: "canary-provider-text-in-problems",
		file: "internal/providers/upstream/content.go",
		old:  `canonical.InvalidResponse("body has a content coding other than gzip")`, new: `canonical.InvalidResponse("body has the content coding " + coding)`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "wire-late-departure",
		file: "internal/providers/upstream/transport.go",
		old: `	t.DialContext = punctually(t.DialContext, cfg.Now)
`, new: ``,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-timeout-not-passed-on",
		file: "internal/providers/upstream/upstream.go",
		old:  `counted(q, r), c.wire.Timeout)`, new: `counted(q, r), 0)`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-protocol-switched",
		file: "internal/providers/upstream/upstream.go",
		old:  `resp.StatusCode < http.StatusOK || resp`, new: `resp`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-kernel-sends-on",
		file: "internal/providers/upstream/punctual.go",
		old:  "\t\t_ = tcp.SetLinger(0)\n", new: "\t\t_ = tcp\n",
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-closure-ends-with-the-read",
		file: "internal/providers/upstream/upstream.go",
		old:  `c.wire.Counter.Close(context.WithoutCancel(ctx),`, new: `c.wire.Counter.Close(ctx,`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-dead-connection-kept",
		file: "internal/providers/upstream/transport.go",
		old:  "\tt.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWithin}\n", new: "\t_ = []any{pingAfter, pingWithin}\n",
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-unattended-http2",
		file: "internal/providers/upstream/transport.go",
		old:  "\tt.Protocols.SetHTTP1(true)\n", new: "\tt.Protocols.SetHTTP1(true)\n\tt.Protocols.SetHTTP2(true)\n",
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestHTTP2DoesNotSendAgain$",
	},
	{
		name: "wire-unattended-on-the-attended-transport",
		file: "internal/providers/upstream/upstream.go",
		old:  `c.exchange(own, c.unattended, req, q, r, 0)`, new: `c.exchange(own, c.attended, req, q, r, 0)`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestHTTP2DoesNotSendAgain$",
	},
	{
		name: "wire-replayable-let-through",
		file: "internal/providers/upstream/upstream.go",
		old:  `failure == nil && replayable(req) {`, new: `failure == nil && false {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDyingConnectionDoesNotSendAgain$",
	},
	{
		name: "wire-sent-again-without-answer",
		file: "internal/providers/upstream/upstream.go",
		old: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
`, new: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
	if failure != nil && went.connected() && answer.Status == 0 && r.Body == nil {
		answer, went, failure = c.exchange(own, c.unattended, req, q, r, 1)
	}
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDyingConnectionDoesNotSendAgain$",
	},
	{
		name: "wire-given-back-unanswered",
		file: "internal/providers/upstream/upstream.go",
		old: `			w.conns.Add(1)
			w.headers.Store(false)`, new: `			if info.Reused {
				w.conns.Add(1)
			}
			w.headers.Store(false)`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestCountedOnceAConnectionStands$",
	},
	{
		name: "wire-counted-before-tls",
		file: "internal/providers/upstream/upstream.go",
		old: `		GotConn: func(info httptrace.GotConnInfo) {
			again := w.conns.Load() > 0 && w.sent()
			w.conns.Add(1)
`, new: `		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				w.conns.Add(1)
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			again := false
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestGivenBackBeforeAConnectionStands$",
	},
	{
		name: "wire-give-back-ends-with-the-read",
		file: "internal/providers/upstream/upstream.go",
		old:  `slot.GiveBack(context.WithoutCancel(ctx))`, new: `slot.GiveBack(ctx)`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestGivenBackBeforeAConnectionStands$",
	},
	{
		name: "wire-give-back-ends-with-the-caller",
		file: "internal/providers/upstream/upstream.go",
		old:  `	if !went.connected() {`, new: `	if !went.connected() && ctx.Err() == nil {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestGivenBackBeforeAConnectionStands$",
	},
	{
		name: "wire-anyone-vouches",
		file: "internal/providers/upstream/transport.go",
		old:  `RootCAs: cfg.Roots}`, new: `RootCAs: cfg.Roots, InsecureSkipVerify: true}`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestGivenBackBeforeAConnectionStands$",
	},
	{
		name: "wire-date-by-our-clock",
		file: "internal/providers/upstream/retryafter.go",
		old: `		now = theirs
`, new: `		_ = theirs
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestRetryAfterAsDate$",
	},
	{
		name: "model-given-back-on-a-timeout",
		file: "internal/providers/upstream/upstream.go",
		old:  `	if !went.connected() {`, new: `	if !went.connected() || failure != nil && failure.Kind == canonical.ProviderTimeout {`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
		args:     []string{"-histories=2000"},
	},
	{
		name: "certificates-of-the-chain-forgotten",
		file: "internal/providers/upstream/ends.go",
		old:  `(first.IsZero() || c.NotAfter.Before(first))`, new: `first.IsZero()`,
		packages: []string{"./test/gateway"},
		run:      "^TestCertificatesEnds$",
	},
	{
		name: "retry-unattended",
		file: "internal/providers/upstream/upstream.go",
		old: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
`, new: `	answer, went, failure := c.exchange(own, c.unattended, req, q, r, 0)
	if failure != nil && went.broke() && c.budget.spend() {
		answer, went, failure = c.exchange(own, c.unattended, req, q, r, 1)
	}
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestUnattendedIsNotSentOnceMore$",
	},
	{
		name: "retry-never",
		file: "internal/providers/upstream/retry.go",
		old:  `failure == nil || !went.broke()`, new: `failure == nil || true || !went.broke()`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestAttendedIsSentOnceMore$",
	},
	{
		name: "retry-what-was-answered",
		file: "internal/providers/upstream/retry.go",
		old:  ` || w.answered.Load()`, new: ``,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestWhatIsNotSentOnceMore$",
	},
	{
		name: "retry-after-net-http",
		file: "internal/providers/upstream/upstream.go",
		old:  `if !again {`, new: `if again || !again {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestNotSentForEachConnectionThatBreaks$",
	},
	{
		name: "retry-without-budget",
		file: "internal/providers/upstream/retry.go",
		old:  `if b.left < cost {`, new: `if false {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestRetryBudget$",
	},
	{
		name: "retry-after-its-time",
		file: "internal/providers/upstream/retry.go",
		old:  `	case <-ctx.Done():`, new: `	case <-make(chan struct{}):`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestRetryWithinTheTime$",
	},
	{
		name: "wire-tls-too-old",
		file: "internal/providers/upstream/transport.go",
		old:  `MinVersion: tls.VersionTLS12`, new: `MinVersion: tls.VersionTLS10`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestProviderMustShowItself$",
	},
	{
		name: "wire-proxy-not-asked",
		file: "internal/providers/upstream/transport.go",
		old:  `proxied(cfg.Proxy),`, new: `proxied(nil),`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestProxy$",
	},
	{
		name: "wire-proxy-learns-who-calls",
		file: "internal/providers/upstream/transport.go",
		old:  `http.Header{"User-Agent": {""}}`, new: `http.Header{}`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestProxy$",
	},
	{
		name: "networks-given-back-after-sending",
		file: "internal/providers/upstream/upstream.go",
		old:  `	if !went.connected() {`, new: `	if !went.connected() || failure != nil {`,
		packages: []string{"./test/gateway"},
		run:      "^TestBadNetworksToProviders$",
	},
	{
		name: "json-duplicates-of-many-accepted",
		file: "internal/providers/upstream/shape.go",
		old:  `if c.many[key] {`, new: `if false && c.many[key] {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
	},
	{
		name: "json-duplicates-escaped-accepted",
		file: "internal/providers/upstream/shape.go",
		old:  `if bytes.IndexByte(name, '\\') >= 0 {`, new: `if false {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
	},
	{
		name: "json-records-unbounded",
		file: "internal/providers/upstream/shape.go",
		old:  `last.members >= maxMembers`, new: `last.members >= 1<<30`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
	},
	{
		name: "json-depth-unbounded",
		file: "internal/providers/upstream/shape.go",
		old:  `if len(open) == maxDepth {`, new: `if len(open) == 1<<30 {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
	},
	{
		name: "json-half-character-in-a-text",
		file: "internal/providers/upstream/members.go",
		old:  `if halfCharacter(raw) {`, new: `if false {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestText$",
	},
	{
		name: "json-form-not-checked-first",
		file: "internal/providers/upstream/decode.go",
		old:  `if !json.Valid(body) {`, new: `if len(body) == 0 {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
	},
	{
		name: "wire-charset-ignored",
		file: "internal/providers/upstream/content.go",
		old:  `strings.EqualFold(strings.TrimSpace(name), "charset")`, new: `strings.EqualFold(strings.TrimSpace(name), "-")`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestContract$/^broken_answers$",
	},
	{
		name: "wire-coding-ignored",
		file: "internal/providers/upstream/content.go",
		old:  `			return nil, canonical.InvalidResponse("body has a content coding other than gzip")`, new: ``,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestContract$/^broken_answers$",
	},
	{
		name: "wire-gzip-unbounded",
		file: "internal/providers/upstream/content.go",
		old:  `	case len(body) > maxBody:`, new: `	case false:`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestContract$/^broken_answers$",
	},
	{
		name: "wire-lost-refusal-is-no-refusal",
		file: "internal/providers/upstream/content.go",
		old:  `		a.Body, a.Unreadable = nil, true`, new: `		a.Body = nil`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestContract$/^unreadable_refusals$",
	},
	{
		name: "wire-own-text-read-as-wording",
		file: "internal/providers/upstream/wording.go",
		old:  `			n = max(n, o.at(words[i:]))`, new: `			n = max(n, 0*o.at(words[i:]))`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestOwnTextSaysNothing$",
	},
	{
		name: "wire-wording-unbounded",
		file: "internal/providers/upstream/wording.go",
		old:  `	w.left -= len(text)`, new: `	w.left -= len(end)`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestWordingIsBounded$",
	},
	{
		name: "wire-signed-in-vain",
		file: "internal/providers/upstream/upstream.go",
		old: `	slot, failure := c.take(ctx, q, r)
`, new: `	_ = c.sign(req, r)
	slot, failure := c.take(ctx, q, r)
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestNothingIsSignedInVain$",
	},
	{
		name: "wire-no-file-blames-the-provider",
		file: "internal/providers/upstream/upstream.go",
		old:  `	case !connected && OutOfFiles(err):`, new: `	case false && OutOfFiles(err):`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestNoFileIsLeft$",
	},
	{
		name: "wire-retry-after-of-a-year",
		file: "internal/providers/upstream/retryafter.go",
		old:  `|| wait > maxRetryAfter`, new: ``,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestRetryAfter$",
	},
	{
		name: "wire-text-not-read",
		file: "internal/providers/upstream/content.go",
		old:  `case "", "utf-8"`, new: `case "utf-8"`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestContract$/^careless_answers$",
	},
	{
		name: "wire-status-below-200",
		file: "internal/providers/upstream/upstream.go",
		old:  `resp.StatusCode < http.StatusOK ||`, new: `resp.StatusCode == http.StatusSwitchingProtocols ||`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBadAnswers$",
	},
	{
		name: "wire-chunks-lost-not-unreadable",
		file: "internal/providers/upstream/upstream.go",
		old:  `"chunk", "invalid byte", `, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBadAnswers$",
	},
	{
		name: "wire-another-answer",
		file: "internal/providers/upstream/upstream.go",
		old:  `w.on.Store(settled(ctx, info))`, new: `_ = info`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestNobodyGetsAnothersAnswer$",
	},
	{
		name: "wire-answer-before-its-request",
		file: "internal/providers/upstream/reuse.go",
		old:  `k.quiet && n > 0`, new: `false`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestNothingComesBeforeItsRequest$",
	},
	{
		name: "wire-late-answer-taken-for-the-next",
		file: "internal/providers/upstream/reuse.go",
		old:  `	k.quiet = true`, new: ``,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestLateSurplus$",
	},
	{
		name: "wire-connections-outlive-what-came-too-much",
		file: "internal/providers/upstream/reuse.go",
		old:  `	return k.Conn.Close()`, new: `	return nil`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestLateSurplus$",
	},
	{
		name: "wire-settling-without-end",
		file: "internal/providers/upstream/reuse.go",
		old:  ` && ctx.Err() == nil`, new: ``,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestSettlingEnds$",
	},
	{
		name: "wire-connections-not-kept",
		file: "internal/providers/upstream/reuse.go",
		old:  `	if !got.Reused {`, new: `	if got.Reused {
		conn.Close()
	}
	if !got.Reused {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestConnectionsAreUsedAgain$",
	},
	{
		name: "closure-not-told",
		file: "internal/providers/upstream/upstream.go",
		old:  `		c.wire.Observer.Slot(ctx, q.ASPSP, SlotClosed)`, new: ``,
		packages: []string{"./test/deploy"},
		run:      "^TestBoardsHaveData$",
	},
}
