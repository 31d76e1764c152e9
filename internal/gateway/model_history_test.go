package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"ais-gateway/internal/aggregation"
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/unattended"
)

// A history is one random sequence of actions on gateways, Redis and an ASPSP.
type history struct {
	w           *worker
	aspsp       config.ASPSP
	timeout     time.Duration
	consents    []string
	token       canonical.Secret
	provider    *scriptedASPSP
	gateways    []*instance
	counter     *unattended.Counter // reads Redis directly, not through a proxy
	wideCounter *unattended.Counter // with a window twice as long, to see released slots

	began        time.Time
	trace        strings.Builder
	rounds       []round
	derivedMu    sync.Mutex
	derived      map[string]int             // rounds of derived request ids
	requested    map[string]unattended.Call // units of all unattended reads
	unchecked    map[string]unattended.Call // units of reads since the last check
	extra        map[string][]lostSlots
	blockedUntil map[string]time.Time // the latest time until which a unit may be blocked
	blocks       []block
	outages      []outage
	down         bool // Redis
	paged        bool // the ASPSP has sent lists in pages
}

// A round is a set of concurrent reads. No call is in progress when it ends.
type round struct {
	began time.Time
	first int // index of its first call in the call log
}

// lostSlots are slots that may be taken although the ASPSP has no record of a call.
type lostSlots struct {
	from, until time.Time // start of the round, and the latest time at which they were taken
	n           int
	releasable  bool // they may be released later
}

// A block is a time in which no unattended call of a unit may arrive, because the ASPSP reported
// its limit as used up and Redis has confirmed the block.
type block struct {
	unit        string
	from, until time.Time
}

// An outage is a time without Redis. until is zero while it lasts.
type outage struct{ from, until time.Time }

// A read is one request to one gateway.
type read struct {
	at           *instance
	consent      string
	account      string // "" for the list
	cacheControl gateway.CacheControl
	attended     bool
	token        canonical.Secret
	delay        time.Duration        // before the request is sent
	leaveAfter   time.Duration        // when the caller cancels, 0 for never
	aggregation  *aggregation.Request // instead of a single read; nil for none
}

func (r read) String() string {
	if r.aggregation != nil {
		return describe(r.aggregation)
	}
	what := "list"
	switch {
	case r.account != "":
		what = "balances " + r.account
	case r.cacheControl.NoCache:
		what = "list no-cache"
	}
	kind := "unattended"
	if r.attended {
		kind = "attended"
	}
	return fmt.Sprintf("%s %s of %.4s", kind, what, r.consent)
}

// A readResult is the result of a read.
type readResult struct {
	kind           canonical.Kind
	origin         canonical.Origin
	cached         bool // served from the cache or from a shared call
	withoutCounter bool // the counter was not available
	pagesDoNotFit  bool // refused because the pages of the list need more slots than remain
	failureHidden  bool // a stale list hides how the call failed
	from, to       time.Time
	aggregated     *aggregated // the result of an aggregation
}

// history is the property that rapid checks: it runs one history.
func (w *worker) history(t *rapid.T) {
	if w.run.failed.Load() && !w.failed.Load() && len(w.traces) == 0 {
		return // another worker has failed
	}
	h := w.begin(t)
	defer h.restore()
	t.Repeat(map[string]func(*rapid.T){
		"read":        h.oneRead,
		"read again":  h.oneRead,
		"reads":       h.manyReads,
		"reads again": h.manyReads,
		"aggregation": h.oneAggregation, "aggregation again": h.oneAggregation,
		"aggregations": h.manyAggregations, "late aggregation": h.lateAggregation,
		"attended":    h.attendedRead,
		"crash":       h.crash,
		"crash again": h.crash,
		"cut":         h.cutCounter,
		"block":       h.blockWithoutCounter,
		"redis":       h.redisOutage,
		"flush":       h.flushScripts,
		"pause":       h.pause,
		"next slot":   h.nextSlot,
		"clock":       h.clockJump,
		"leave":       h.leave,
		"access":      h.access,
		"":            h.check,
	})
	h.waitForReleases(t)
	maps.Copy(h.unchecked, h.requested)
	h.check(t)
	w.run.count("histories")
	w.run.add("calls that reached the ASPSP", len(h.provider.callLog.Calls()))
}

// begin draws the configuration of a history, and starts its gateways.
func (w *worker) begin(t *rapid.T) *history {
	h := &history{
		w: w, aspsp: config.ASPSPDefaults(), token: mypossim.GoodToken, began: time.Now(),
		derived: map[string]int{}, requested: map[string]unattended.Call{}, unchecked: map[string]unattended.Call{}, extra: map[string][]lostSlots{}, blockedUntil: map[string]time.Time{},
	}
	h.aspsp.ID, h.aspsp.Name, h.aspsp.Provider = uuid.NewString(), "A bank", "mypos"
	h.aspsp.Breaker.ConsecutiveFailures, h.aspsp.Breaker.MinimumCalls = 1<<30, 1<<30
	h.aspsp.Accounts.FreshFor = scaled(60)
	h.aspsp.Unattended = config.Unattended{
		Limit:  rapid.IntRange(1, 4).Draw(t, "limit"),
		Window: scaled(rapid.SampledFrom([]int{300, 400}).Draw(t, "window")),
		Unit:   rapid.SampledFrom([]config.Unit{config.UnitConsent, config.UnitResource, config.UnitASPSP}).Draw(t, "unit"),
	}
	h.timeout = scaled(rapid.SampledFrom([]int{100, 140}).Draw(t, "timeout"))
	for range rapid.IntRange(1, 2).Draw(t, "consents") {
		h.consents = append(h.consents, uuid.NewString())
	}
	h.provider = newScriptedASPSP(h.aspsp.ID, h.aspsp.Unattended.Window, h.timeout)
	w.aspsp.Store(h.provider)
	wide := h.aspsp.Unattended
	wide.Window *= 2
	h.counter = unattended.New(w.direct, map[string]config.Unattended{h.aspsp.ID: h.aspsp.Unattended}).Within(longTimeout)
	h.wideCounter = unattended.New(w.direct, map[string]config.Unattended{h.aspsp.ID: wide}).Within(longTimeout)
	for range rapid.IntRange(2, 3).Draw(t, "gateways") {
		h.gateways = append(h.gateways, h.instance(t))
	}
	h.log("limit %d in %v for each %s, timeout %v", h.aspsp.Unattended.Limit, h.aspsp.Unattended.Window, h.aspsp.Unattended.Unit, h.timeout)
	return h
}

// restore restarts Redis for the next history if it is down.
func (h *history) restore() {
	if h.down {
		h.w.redis.Restart()
	}
}

func (h *history) log(format string, args ...any) {
	fmt.Fprintf(&h.trace, "%6.1f ms  %s\n", float64(time.Since(h.began).Microseconds())/1000, fmt.Sprintf(format, args...))
}

// fail logs the details in the trace and fails the history. The reason must not contain details:
// rapid only shortens histories that fail with the same message.
func (h *history) fail(t *rapid.T, reason, format string, args ...any) {
	h.log("%s: %s", reason, fmt.Sprintf(format, args...))
	for _, c := range h.provider.callLog.Calls() {
		fmt.Fprintf(&h.trace, "%6.1f ms  the ASPSP recorded: %.4s %q attended %t\n", float64(c.At.Sub(h.began).Microseconds())/1000, c.Consent, c.Account, c.Attended)
	}
	h.w.traces = append(h.w.traces[:min(len(h.w.traces), 1)], h.trace.String())
	t.Fatal(reason)
}

// Random parts of a history.

func (h *history) drawGateway(t *rapid.T) (int, *instance) {
	n := rapid.IntRange(0, len(h.gateways)-1).Draw(t, "gateway")
	return n, h.gateways[n]
}

func (h *history) drawRead(t *rapid.T, at *instance, attended bool) read {
	r := read{at: at, attended: attended, token: h.token, consent: rapid.SampledFrom(h.consents).Draw(t, "consent")}
	switch rapid.SampledFrom([]string{"no-cache", "list", "first", "second"}).Draw(t, "what") {
	case "no-cache":
		r.cacheControl.NoCache = true
	case "first":
		r.account = mypossim.GoodAccount
	case "second":
		r.account = "50044620081"
	}
	return r
}

// drawReads returns 1 to n reads, most of them unattended, that start within 8 ms.
func (h *history) drawReads(t *rapid.T, at *instance, n int) []read {
	var reads []read
	for range rapid.IntRange(1, n).Draw(t, "reads") {
		from := at
		if at == nil {
			_, from = h.drawGateway(t)
		}
		draw := h.drawRead
		if rapid.IntRange(0, 3).Draw(t, "aggregation") == 3 {
			draw = h.drawAggregation
		}
		r := draw(t, from, rapid.IntRange(0, 5).Draw(t, "attended") == 5)
		r.delay = time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * time.Millisecond
		reads = append(reads, r)
	}
	return reads
}

// drawBehavior returns normal in half of the cases.
func (h *history) drawBehavior(t *rapid.T) behavior {
	if rapid.Bool().Draw(t, "good") {
		return normal
	}
	return rapid.SampledFrom(behaviors).Draw(t, "behavior")
}

func ms(t *rapid.T, label string, from, to int) time.Duration {
	return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Millisecond
}

// Actions of a history.

func (h *history) oneRead(t *rapid.T) {
	_, g := h.drawGateway(t)
	h.run(t, conditions{behavior: h.drawBehavior(t)}, h.drawRead(t, g, false))
}

func (h *history) attendedRead(t *rapid.T) {
	_, g := h.drawGateway(t)
	h.run(t, conditions{behavior: h.drawBehavior(t)}, h.drawRead(t, g, true))
}

func (h *history) manyReads(t *rapid.T) {
	h.run(t, conditions{behavior: h.drawBehavior(t)}, h.drawReads(t, nil, 7)...)
}

// leave makes a caller cancel its read.
func (h *history) leave(t *rapid.T) {
	_, g := h.drawGateway(t)
	draw := rapid.SampledFrom([]func(*rapid.T, *instance, bool) read{h.drawRead, h.drawAggregation}).Draw(t, "read")
	r := draw(t, g, rapid.IntRange(0, 3).Draw(t, "attended") == 3)
	r.leaveAfter = max(ms(t, "leaves after", 0, 10), time.Microsecond)
	h.w.run.count("canceled by the caller")
	h.run(t, conditions{behavior: h.drawBehavior(t)}, r)
}

// crash makes a gateway crash between two of its steps, and replaces it by a new one.
func (h *history) crash(t *rapid.T) {
	n, g := h.drawGateway(t)
	reads := h.drawReads(t, g, 2)
	for i, other := range h.gateways {
		if i != n && rapid.IntRange(0, 3).Draw(t, "also") == 0 {
			r := h.drawRead(t, other, false)
			r.token = anotherToken() // otherwise it waits until the lease of the crashed gateway expires
			reads = append(reads, r)
		}
	}
	m, after := h.drawBehavior(t), rapid.IntRange(1, 24).Draw(t, "steps")
	if slices.ContainsFunc(reads, func(r read) bool { return r.aggregation != nil }) {
		after = rapid.IntRange(1, 60).Draw(t, "steps of an aggregation")
	}
	h.log("a gateway crashes after %d steps", after)
	g.process.CrashAfter(after)
	h.run(t, conditions{behavior: m, crashing: g}, reads...)
	h.gateways[n] = h.instance(t)
	h.token = anotherToken()
}

// cutCounter disconnects one gateway from the counter between two of its steps, or makes the
// counter too slow for it.
func (h *history) cutCounter(t *rapid.T) {
	_, g := h.drawGateway(t)
	m := h.drawBehavior(t)
	s := conditions{behavior: m, counterDown: g}
	after := rapid.IntRange(0, 12).Draw(t, "steps")
	tooSlow := rapid.IntRange(0, 3).Draw(t, "slow") == 3
	switch {
	case tooSlow:
		h.log("the counter is slow")
		h.w.run.count("counter: too slow")
		g.counterProxy.Delay(ms(t, "by", int(h.timeout.Milliseconds()/2), int(maxDelay(h.timeout).Milliseconds())))
	case after == 0:
		h.log("the counter is cut off")
		g.counterProxy.Refuse()
		g.counterProxy.Cut()
	default:
		h.log("the counter is cut off after %d steps", after)
		g.process.After(after, func() {
			h.w.run.count("counter: cut off between two steps")
			g.counterProxy.Refuse()
			g.counterProxy.Cut()
		})
	}
	h.run(t, s, h.drawReads(t, g, 2)...)
	g.process.After(1, nil)
	g.counterProxy.Delay(0)
	g.counterProxy.Open()
	h.token = anotherToken()
	if rapid.IntRange(0, 2).Draw(t, "settle") == 0 {
		h.waitForReleases(t)
	}
}

// blockWithoutCounter makes the ASPSP report its limit as used up while the gateway has no counter,
// and repeats the read on the same gateway.
func (h *history) blockWithoutCounter(t *rapid.T) {
	_, g := h.drawGateway(t)
	r := h.drawRead(t, g, false)
	r.cacheControl.NoCache = true
	h.provider.onNextCall(func() {
		g.counterProxy.Refuse()
		g.counterProxy.Cut()
	})
	o := h.run(t, conditions{behavior: rapid.SampledFrom([]behavior{exceeded, exceededRetryAfter}).Draw(t, "response"), counterDown: g}, r)[0]
	h.provider.onNextCall(nil)
	if o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP {
		h.w.run.count("blocked without the counter")
	}
	if rapid.Bool().Draw(t, "still down") {
		h.run(t, conditions{behavior: normal, counterDown: g}, r)
	}
	g.counterProxy.Open()
	h.token = anotherToken()
	r.token = h.token
	h.run(t, conditions{behavior: normal}, r)
}

// redisOutage kills Redis, idle or between two steps of a read, makes reads while it is down, and
// restarts it.
func (h *history) redisOutage(t *rapid.T) {
	_, g := h.drawGateway(t)
	reads := h.drawReads(t, nil, 3)
	if after := rapid.IntRange(0, 12).Draw(t, "steps"); after > 0 {
		reached, gone := make(chan struct{}), make(chan struct{})
		g.process.After(after, func() { close(reached); <-gone })
		h.run(t, conditions{behavior: h.drawBehavior(t), redisDown: true, during: func(done <-chan struct{}) {
			select {
			case <-reached:
				h.w.run.count("redis: killed between two steps")
			case <-done:
			}
			h.stopRedis()
			close(gone)
		}}, reads...)
		g.process.After(1, nil)
	} else {
		h.stopRedis()
	}
	for range rapid.IntRange(0, 2).Draw(t, "without") {
		_, at := h.drawGateway(t)
		h.run(t, conditions{behavior: h.drawBehavior(t), redisDown: true}, h.drawRead(t, at, rapid.Bool().Draw(t, "attended")))
	}
	h.restartRedis()
	h.token = anotherToken()
	if rapid.Bool().Draw(t, "settle") {
		h.waitForReleases(t)
	}
}

func (h *history) stopRedis() {
	h.log("Redis is killed")
	h.w.run.count("redis: killed")
	h.w.redis.Stop()
	for _, g := range h.gateways {
		for _, proxy := range []*crashproxy.Proxy{g.counterProxy, g.cacheProxy} {
			proxy.Refuse()
			proxy.Cut()
		}
	}
	h.down = true
	h.outages = append(h.outages, outage{from: time.Now()})
}

func (h *history) restartRedis() {
	h.outages[len(h.outages)-1].until = time.Now()
	h.w.redis.Restart()
	h.down = false
	for _, g := range h.gateways {
		g.counterProxy.Open()
		g.cacheProxy.Open()
	}
	h.log("Redis is back")
}

func (h *history) flushScripts(t *rapid.T) {
	h.log("the scripts are flushed")
	h.w.run.count("scripts flushed")
	if err := h.w.direct.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}

func (h *history) pause(t *rapid.T) {
	d := rapid.SampledFrom([]int{5, 20, 60, 120, 250}).Draw(t, "ms")
	h.w.run.count("pauses")
	time.Sleep(scaled(d))
}

// nextSlot waits until the next slot of a unit is available, and then makes more reads than there
// are slots.
func (h *history) nextSlot(t *rapid.T) {
	_, g := h.drawGateway(t)
	first := h.drawRead(t, g, false)
	first.cacheControl.NoCache = true
	usage := h.usage(t, h.counter, h.call(first))
	h.w.run.count("next slot became available")
	time.Sleep(min(usage.Wait, 2*h.aspsp.Unattended.Window))
	reads := []read{first}
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		r := first
		_, r.at = h.drawGateway(t)
		reads = append(reads, r)
	}
	h.run(t, conditions{behavior: h.drawBehavior(t)}, reads...)
}

// clockJump moves the clock of a gateway by a day, forward or back, idle or between two steps of a
// read.
func (h *history) clockJump(t *rapid.T) {
	_, g := h.drawGateway(t)
	by := rapid.SampledFrom([]time.Duration{-24 * time.Hour, 24 * time.Hour}).Draw(t, "by")
	if after := rapid.IntRange(0, 12).Draw(t, "steps"); after > 0 {
		h.log("a clock jumps by %v after %d steps", by, after)
		g.process.After(after, func() {
			h.w.run.count("clock: jumped during a read")
			g.jumped.Store(int64(by))
			g.clockOffset.Add(int64(by))
		})
		h.run(t, conditions{behavior: h.drawBehavior(t)}, h.drawReads(t, g, 2)...)
		g.process.After(1, nil)
		g.jumped.Store(0)
		return
	}
	h.log("a clock jumps by %v", by)
	h.w.run.count("clock: jumped")
	g.clockOffset.Add(int64(by))
}

// access reads the usage of a unit and then makes a call: the result must agree with the usage.
func (h *history) access(t *rapid.T) {
	_, g := h.drawGateway(t)
	r := h.drawRead(t, g, false)
	r.cacheControl.NoCache = true
	q := h.query(r)
	for try := 1; ; try++ {
		h.w.run.stalls.waitWhileBusy()
		began := time.Now()
		usage, err := g.UnattendedAccess(context.Background(), unattended.Call{ASPSP: q.ASPSP, Consent: q.Consent, Account: r.account})
		if err != nil && try < tries {
			continue
		} else if err != nil {
			h.fail(t, "the usage cannot be read", "%v", err)
		}
		o := h.run(t, conditions{behavior: normal}, r)[0]
		went := slices.ContainsFunc(h.provider.arrivals(), func(a arrival) bool { return h.roundOf(a.requestID) == len(h.rounds)-1 })
		switch {
		case usage.Remaining > 0 && o.kind == "" && went:
			h.w.run.count("access: agreed, calls remain")
		case usage.Remaining > 0 && o.pagesDoNotFit && r.account == "" && usage.Remaining < pagesOfAList && !went: // the number of pages is remembered
			h.w.run.count("access: pages do not fit")
		case usage.Remaining > 0 && o.kind != canonical.UnattendedLimit && try < tries:
			h.machineWasSlow(o)
			continue
		case usage.Remaining > 0 && h.mayBeReleased(h.unit(h.call(r))): // a take without a response may have been executed since
		case usage.Remaining > 0:
			h.fail(t, "fewer calls remain than the usage shows", "%+v, %s", usage, o.kind)
		case time.Since(began) >= usage.Wait || h.mayBeReleased(h.unit(h.call(r))):
		case o.kind != canonical.UnattendedLimit || o.origin != canonical.OriginGateway || went:
			h.fail(t, "more calls remain than the usage shows", "%+v, %s", usage, o.kind)
		default:
			h.w.run.count("access: agreed, no call remains")
		}
		return
	}
}

// pagesOfAList is the number of pages of a list in pages of one account.
const pagesOfAList = 3

func anotherToken() canonical.Secret {
	return canonical.Secret(mypossim.TokenPrefix + uuid.NewString())
}

// Execution of reads.

// tries is how often a read that must succeed is tried. A slow machine makes some tries fail, a
// defect of the gateway makes all of them fail.
const tries = 8

// conditions are the failures during a round.
type conditions struct {
	behavior    behavior
	crashing    *instance                  // crashes before the end of the round
	counterDown *instance                  // has no counter or a slow one
	redisDown   bool                       // down from the start or later
	during      func(done <-chan struct{}) // runs during the reads; done is closed at their end
}

// run makes concurrent reads, waits until no call is in progress, and records the slots that they
// may have taken.
func (h *history) run(t *rapid.T, s conditions, reads ...read) []readResult {
	h.w.run.count("ASPSP " + string(s.behavior))
	a := round{began: time.Now(), first: len(h.provider.callLog.Calls())}
	h.rounds = append(h.rounds, a)
	connections := h.connections()
	h.provider.set(s.behavior)
	for _, g := range h.gateways {
		switch s.behavior { // scriptedASPSP implements the other behaviors
		case slowConnect:
			g.aspspProxy.Delay(h.timeout - scaled(20))
		case refusesConnections:
			g.aspspProxy.Refuse()
		}
	}
	outcomes := make([]readResult, len(reads))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i, r := range reads {
		all.Go(func() { outcomes[i] = h.readWithRetries(s, r) })
	}
	go func() { all.Wait(); close(done) }()
	if s.during != nil {
		s.during(done)
	}
	<-done
	for _, g := range h.gateways {
		if g != s.crashing {
			h.drain(t, g)
		}
	}
	if s.crashing != nil {
		h.recordCrash(s.crashing, a)
	}
	for range 2 { // after a response Redis has read what was sent before
		h.usage(t, h.counter, unattended.Call{ASPSP: h.aspsp.ID})
	}
	for _, g := range h.gateways {
		g.aspspProxy.Delay(0)
		g.aspspProxy.Open()
	}
	h.provider.set(normal)
	h.recordRound(t, s, a, h.connections()-connections, reads, outcomes)
	return outcomes
}

func (h *history) drain(t *rapid.T, g *instance) {
	g.runner.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*minute)
	defer cancel()
	if err := g.Drain(ctx); err != nil {
		h.fail(t, "a gateway does not drain", "%v", err)
	}
}

// recordCrash records at which step a gateway crashed. A gateway that is still running crashes now.
func (h *history) recordCrash(g *instance, a round) {
	if !g.process.Crashed() {
		g.process.Crash()
		h.w.run.count("crash: idle")
		return
	}
	last := g.process.LastStep()
	names := map[*crashproxy.Proxy]string{g.counterProxy: "the counter", g.cacheProxy: "the cache", g.aspspProxy: "the ASPSP"}
	step := "sent to " + names[last.Proxy]
	if last.FromServer {
		step = "response of " + names[last.Proxy]
	}
	if last.Proxy == g.counterProxy && len(h.provider.callLog.Calls()) > a.first {
		step += ", after the ASPSP"
	}
	h.log("it crashed: %s", step)
	h.w.run.count("crash: " + step)
}

// connections returns the number of connections to the ASPSP so far.
func (h *history) connections() int {
	n := 0
	for _, g := range h.gateways {
		n += g.aspspProxy.Accepted()
	}
	return n
}

func (h *history) query(r read) canonical.Query {
	q := canonical.Query{ASPSP: h.aspsp.ID, Consent: r.consent, Token: r.token, RequestID: requestID(len(h.rounds) - 1)}
	if r.attended {
		return attended(q)
	}
	return q
}

// readWithRetries makes one read. An attended read must succeed without the counter; it is retried,
// because it may fail on a slow machine.
func (h *history) readWithRetries(s conditions, r read) readResult {
	time.Sleep(r.delay)
	began := time.Now()
	for try := 1; ; try++ {
		o := h.readOnce(r)
		h.w.run.count("reads")
		if !r.attended {
			h.w.run.count("unattended: " + string(o.kind))
			return o
		}
		o.from = began // the next try may get the result of a slow call
		if o.kind == "" || try == tries || !h.mustSucceed(s, r) {
			return o
		}
		h.machineWasSlow(o)
		h.w.run.stalls.waitWhileBusy()
	}
}

// machineWasSlow reports whether a failed read had too little CPU time. It counts the other
// failures.
func (h *history) machineWasSlow(o readResult) bool {
	if h.w.run.stalls.total(o.from, o.to) > h.timeout/4 {
		h.w.run.count("failures of a slow machine")
		return true
	}
	h.w.run.count("failures without a reason")
	return false
}

func (h *history) mustSucceed(s conditions, r read) bool {
	return r.attended && s.behavior.succeeds() && s.crashing != r.at && r.leaveAfter == 0 && r.at.maxCalls == 0 &&
		(r.aggregation == nil || mustComplete(r.aggregation))
}

func (h *history) readOnce(r read) readResult {
	ctx := context.Background()
	if r.leaveAfter > 0 {
		bounded, cancel := context.WithTimeout(ctx, r.leaveAfter)
		defer cancel()
		ctx = bounded
	}
	if r.aggregation != nil {
		return h.aggregateOnce(ctx, r)
	}
	o := readResult{from: time.Now()}
	var err error
	if r.account == "" {
		var list gateway.AccountsResult
		list, err = r.at.Accounts(ctx, client, h.query(r), r.cacheControl)
		h.w.run.count("cache: " + string(list.CacheResult))
		o.cached = list.Cache.Hit || list.Cache.Collapsed
		o.withoutCounter = list.Freshness.StaleReason == gateway.StaleWithoutCounter
		o.failureHidden = list.Freshness.StaleReason == gateway.StaleWithoutProvider
	} else {
		_, err = r.at.Balances(ctx, client, h.query(r), r.account)
	}
	o.to = time.Now()
	var failure *canonical.Error
	if errors.As(err, &failure) {
		o.kind, o.origin, o.pagesDoNotFit = failure.Kind, failure.Origin, failure.Slots != nil
		o.withoutCounter = failure.Kind == canonical.CounterUnavailable
	}
	return o
}

// call returns the counted call of a read.
func (h *history) call(r read) unattended.Call {
	return unattended.Call{ASPSP: h.aspsp.ID, Consent: r.consent, Account: r.account}
}

// unit returns the unit of a call.
func (h *history) unit(c unattended.Call) string {
	consent := strings.ToLower(c.Consent) // how it is spelled does not count
	switch h.aspsp.Unattended.Unit {
	case config.UnitASPSP:
		return "all"
	case config.UnitConsent:
		return consent
	case config.UnitResource:
	}
	return consent + " " + c.Account
}

// unitOf returns the unit of a call in the call log.
func (h *history) unitOf(c aspspsim.Call) string {
	return h.unit(unattended.Call{Consent: c.Consent, Account: c.Account})
}
