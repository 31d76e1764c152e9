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

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/unattended"
)

// A history is one world from its beginning to its end.
type history struct {
	w        *worker
	bank     config.ASPSP
	timeout  time.Duration
	consents []string
	token    canonical.Secret
	moody    *moody
	gateways []*instance
	judge    *unattended.Counter // reads Redis past all relays
	wide     *unattended.Counter // with a window twice as long, to see what was given back

	began    time.Time
	trace    strings.Builder
	acts     []act
	units    map[string]unattended.Call // that were asked about
	touched  map[string]unattended.Call // since they were judged
	extra    map[string][]lost
	shut     map[string]time.Time // until when a unit may be closed at the longest
	closures []closure
	outages  []outage
	down     bool // Redis
}

// An act is the reads that were made together. When it ends nothing is under way.
type act struct {
	began time.Time
	first int // call of the record
}

// lost are slots that may be taken although the bank has no record of a call.
type lost struct {
	from, at time.Time // of the act's beginning, and until when they may have been taken
	n        int
	comeback bool // they are given back later
}

// A closure is a time in which no unattended call of a unit may arrive: the bank has said so, and everybody knows.
type closure struct {
	unit        string
	from, until time.Time
}

// An outage is a time without Redis. Until is zero while it lasts.
type outage struct{ from, until time.Time }

// A read is what one caller asks of one gateway.
type read struct {
	at       *instance
	consent  string
	account  string // "" for the list
	wants    gateway.CacheControl
	attended bool
	token    canonical.Secret
	after    time.Duration // until it is asked
	leave    time.Duration // until the caller goes away, 0 if he stays
}

func (r read) String() string {
	what := "list"
	switch {
	case r.account != "":
		what = "balances " + r.account
	case r.wants.NoCache:
		what = "list no-cache"
	}
	who := "unattended"
	if r.attended {
		who = "attended"
	}
	return fmt.Sprintf("%s %s of %.4s", who, what, r.consent)
}

// An outcome is what became of a read.
type outcome struct {
	kind     canonical.Kind
	origin   canonical.Origin
	cached   bool // answered from the cache, or from another's call
	blind    bool // without the counter
	unfit    bool // refused because the pages of the list need more slots than are left
	vague    bool // the cache's answer hides how the call failed
	from, to time.Time
}

// history is the property that rapid checks.
func (w *worker) history(t *rapid.T) {
	if w.run.failed.Load() && !w.bad.Load() && len(w.traces) == 0 {
		return // another worker has found something
	}
	h := w.begin(t)
	defer h.restore()
	t.Repeat(map[string]func(*rapid.T){
		"read":        h.oneRead,
		"read again":  h.oneRead,
		"reads":       h.manyReads,
		"reads again": h.manyReads,
		"attended":    h.attendedRead,
		"crash":       h.crash,
		"crash again": h.crash,
		"cut":         h.cutCounter,
		"untold":      h.untold,
		"redis":       h.killRedis,
		"flush":       h.flushScripts,
		"pause":       h.pause,
		"boundary":    h.boundary,
		"clock":       h.leap,
		"leave":       h.leave,
		"access":      h.access,
		"":            h.check,
	})
	h.settle(t)
	maps.Copy(h.touched, h.units)
	h.check(t)
	w.run.count("histories")
	w.run.add("calls that reached the bank", len(h.moody.ledger.Calls()))
}

// begin draws a world.
func (w *worker) begin(t *rapid.T) *history {
	h := &history{
		w: w, bank: config.ASPSPDefaults(), token: mypossim.GoodToken, began: time.Now(),
		units: map[string]unattended.Call{}, touched: map[string]unattended.Call{}, extra: map[string][]lost{}, shut: map[string]time.Time{},
	}
	h.bank.ID, h.bank.Name, h.bank.Provider = uuid.NewString(), "A bank", "mypos"
	h.bank.Breaker.ConsecutiveFailures, h.bank.Breaker.MinimumCalls = 1<<30, 1<<30
	h.bank.Accounts.FreshFor = scaled(60)
	h.bank.Unattended = config.Unattended{
		Limit:  rapid.IntRange(1, 4).Draw(t, "limit"),
		Window: scaled(rapid.SampledFrom([]int{300, 400}).Draw(t, "window")),
		Unit:   rapid.SampledFrom([]config.Unit{config.UnitConsent, config.UnitResource, config.UnitASPSP}).Draw(t, "unit"),
	}
	h.timeout = scaled(rapid.SampledFrom([]int{100, 140}).Draw(t, "timeout"))
	for range rapid.IntRange(1, 2).Draw(t, "consents") {
		h.consents = append(h.consents, uuid.NewString())
	}
	h.moody = newMoody(h.bank.ID, h.bank.Unattended.Window, h.timeout)
	w.bank.Store(h.moody)
	wide := h.bank.Unattended
	wide.Window *= 2
	h.judge = unattended.New(w.direct, map[string]config.Unattended{h.bank.ID: h.bank.Unattended}).Within(patience)
	h.wide = unattended.New(w.direct, map[string]config.Unattended{h.bank.ID: wide}).Within(patience)
	for range rapid.IntRange(2, 3).Draw(t, "gateways") {
		h.gateways = append(h.gateways, h.instance(t))
	}
	h.note("limit %d in %v for each %s, timeout %v", h.bank.Unattended.Limit, h.bank.Unattended.Window, h.bank.Unattended.Unit, h.timeout)
	return h
}

// restore leaves the worker's Redis as the next history needs it.
func (h *history) restore() {
	if h.down {
		h.w.redis.Restart()
	}
}

func (h *history) note(format string, args ...any) {
	fmt.Fprintf(&h.trace, "%6.1f ms  %s\n", float64(time.Since(h.began).Microseconds())/1000, fmt.Sprintf(format, args...))
}

// fail ends the history. The reason is the same in every history that fails for it, so that rapid can shorten them;
// the rest goes into the trace.
func (h *history) fail(t *rapid.T, reason, format string, args ...any) {
	h.note("%s: %s", reason, fmt.Sprintf(format, args...))
	for _, c := range h.moody.ledger.Calls() {
		fmt.Fprintf(&h.trace, "%6.1f ms  the bank recorded: %.4s %q attended %t\n", float64(c.At.Sub(h.began).Microseconds())/1000, c.Consent, c.Account, c.Attended)
	}
	h.w.traces = append(h.w.traces[:min(len(h.w.traces), 1)], h.trace.String())
	t.Fatal(reason)
}

// What a history draws.

func (h *history) drawGateway(t *rapid.T) (int, *instance) {
	n := rapid.IntRange(0, len(h.gateways)-1).Draw(t, "gateway")
	return n, h.gateways[n]
}

func (h *history) drawRead(t *rapid.T, at *instance, attended bool) read {
	r := read{at: at, attended: attended, token: h.token, consent: rapid.SampledFrom(h.consents).Draw(t, "consent")}
	switch rapid.SampledFrom([]string{"anew", "list", "first", "second"}).Draw(t, "what") {
	case "anew":
		r.wants.NoCache = true
	case "first":
		r.account = mypossim.GoodAccount
	case "second":
		r.account = "50044620081"
	}
	return r
}

// drawReads are up to n reads, most of them unattended, that are asked for within some ms.
func (h *history) drawReads(t *rapid.T, at *instance, n int) []read {
	var reads []read
	for range rapid.IntRange(1, n).Draw(t, "reads") {
		from := at
		if at == nil {
			_, from = h.drawGateway(t)
		}
		r := h.drawRead(t, from, rapid.IntRange(0, 5).Draw(t, "attended") == 5)
		r.after = time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * time.Millisecond
		reads = append(reads, r)
	}
	return reads
}

// drawMood is good more often than not.
func (h *history) drawMood(t *rapid.T) mood {
	if rapid.Bool().Draw(t, "good") {
		return good
	}
	return rapid.SampledFrom(moods).Draw(t, "mood")
}

func ms(t *rapid.T, label string, from, to int) time.Duration {
	return time.Duration(rapid.IntRange(from, to).Draw(t, label)) * time.Millisecond
}

// What happens in a history.

func (h *history) oneRead(t *rapid.T) {
	_, g := h.drawGateway(t)
	h.do(t, scene{mood: h.drawMood(t)}, h.drawRead(t, g, false))
}

func (h *history) attendedRead(t *rapid.T) {
	_, g := h.drawGateway(t)
	h.do(t, scene{mood: h.drawMood(t)}, h.drawRead(t, g, true))
}

func (h *history) manyReads(t *rapid.T) {
	h.do(t, scene{mood: h.drawMood(t)}, h.drawReads(t, nil, 7)...)
}

// leave lets a caller go away in the middle of a read.
func (h *history) leave(t *rapid.T) {
	_, g := h.drawGateway(t)
	r := h.drawRead(t, g, rapid.IntRange(0, 3).Draw(t, "attended") == 3)
	r.leave = max(ms(t, "leaves after", 0, 10), time.Microsecond)
	h.w.run.count("caller left")
	h.do(t, scene{mood: h.drawMood(t)}, r)
}

// crash ends a gateway between two of its steps, and puts another in its place.
func (h *history) crash(t *rapid.T) {
	n, g := h.drawGateway(t)
	reads := h.drawReads(t, g, 2)
	for i, other := range h.gateways {
		if i != n && rapid.IntRange(0, 3).Draw(t, "beside") == 0 {
			r := h.drawRead(t, other, false)
			r.token = anotherToken() // so that it does not wait for the end of the dead one's lease
			reads = append(reads, r)
		}
	}
	m, after := h.drawMood(t), rapid.IntRange(1, 24).Draw(t, "steps")
	h.note("a gateway crashes after %d steps", after)
	g.process.CrashAfter(after)
	h.do(t, scene{mood: m, crashed: g}, reads...)
	h.gateways[n] = h.instance(t)
	h.token = anotherToken()
}

// cutCounter cuts one gateway off from the counter between two of its steps, or lets it be too slow.
func (h *history) cutCounter(t *rapid.T) {
	_, g := h.drawGateway(t)
	m := h.drawMood(t)
	s := scene{mood: m, without: g}
	after := rapid.IntRange(0, 12).Draw(t, "steps")
	tooSlow := rapid.IntRange(0, 3).Draw(t, "slow") == 3
	switch {
	case tooSlow:
		h.note("the counter is slow")
		h.w.run.count("counter: too slow")
		g.count.Delay(ms(t, "by", int(h.timeout.Milliseconds()/2), int(slowest(h.timeout).Milliseconds())))
	case after == 0:
		h.note("the counter is cut off")
		g.count.Refuse()
		g.count.Cut()
	default:
		h.note("the counter is cut off after %d steps", after)
		g.process.After(after, func() {
			h.w.run.count("counter: cut off between two steps")
			g.count.Refuse()
			g.count.Cut()
		})
	}
	h.do(t, s, h.drawReads(t, g, 2)...)
	g.process.After(1, nil)
	g.count.Delay(0)
	g.count.Open()
	h.token = anotherToken()
	if rapid.IntRange(0, 2).Draw(t, "settle") == 0 {
		h.settle(t)
	}
}

// untold lets the bank close a unit when the counter cannot be told, and asks the same gateway again.
func (h *history) untold(t *rapid.T) {
	_, g := h.drawGateway(t)
	r := h.drawRead(t, g, false)
	r.wants.NoCache = true
	h.moody.asked(func() {
		g.count.Refuse()
		g.count.Cut()
	})
	o := h.do(t, scene{mood: rapid.SampledFrom([]mood{exceeded, exceeds}).Draw(t, "says"), without: g}, r)[0]
	h.moody.asked(nil)
	if o.kind == canonical.UnattendedLimit && o.origin == canonical.OriginASPSP {
		h.w.run.count("closed without the counter")
	}
	if rapid.Bool().Draw(t, "still away") {
		h.do(t, scene{mood: good, without: g}, r)
	}
	g.count.Open()
	h.token = anotherToken()
	r.token = h.token
	h.do(t, scene{mood: good}, r)
}

// killRedis kills Redis, at rest or between two steps of a read, asks while it is gone, and starts it again.
func (h *history) killRedis(t *rapid.T) {
	_, g := h.drawGateway(t)
	reads := h.drawReads(t, nil, 3)
	if after := rapid.IntRange(0, 12).Draw(t, "steps"); after > 0 {
		reached, gone := make(chan struct{}), make(chan struct{})
		g.process.After(after, func() { close(reached); <-gone })
		h.do(t, scene{mood: h.drawMood(t), redis: true, during: func(done <-chan struct{}) {
			select {
			case <-reached:
				h.w.run.count("redis: killed between two steps")
			case <-done:
			}
			h.kill()
			close(gone)
		}}, reads...)
		g.process.After(1, nil)
	} else {
		h.kill()
	}
	for range rapid.IntRange(0, 2).Draw(t, "without") {
		_, at := h.drawGateway(t)
		h.do(t, scene{mood: h.drawMood(t), redis: true}, h.drawRead(t, at, rapid.Bool().Draw(t, "attended")))
	}
	h.revive()
	h.token = anotherToken()
	if rapid.Bool().Draw(t, "settle") {
		h.settle(t)
	}
}

func (h *history) kill() {
	h.note("Redis is killed")
	h.w.run.count("redis: killed")
	h.w.redis.Stop()
	for _, g := range h.gateways {
		for _, way := range []*crashproxy.Proxy{g.count, g.cache} {
			way.Refuse()
			way.Cut()
		}
	}
	h.down = true
	h.outages = append(h.outages, outage{from: time.Now()})
}

func (h *history) revive() {
	h.outages[len(h.outages)-1].until = time.Now()
	h.w.redis.Restart()
	h.down = false
	for _, g := range h.gateways {
		g.count.Open()
		g.cache.Open()
	}
	h.note("Redis is back")
}

func (h *history) flushScripts(t *rapid.T) {
	h.note("the scripts are flushed")
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

// boundary waits until a slot opens, not a moment longer, and then asks for more than there can be.
func (h *history) boundary(t *rapid.T) {
	_, g := h.drawGateway(t)
	first := h.drawRead(t, g, false)
	first.wants.NoCache = true
	state := h.state(t, h.judge, h.call(first))
	h.w.run.count("just after a slot opened")
	time.Sleep(min(state.Wait, 2*h.bank.Unattended.Window))
	reads := []read{first}
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		r := first
		_, r.at = h.drawGateway(t)
		reads = append(reads, r)
	}
	h.do(t, scene{mood: h.drawMood(t)}, reads...)
}

// leap sets the clock of a gateway a day on or back, at rest or between two steps of a read.
func (h *history) leap(t *rapid.T) {
	_, g := h.drawGateway(t)
	by := rapid.SampledFrom([]time.Duration{-24 * time.Hour, 24 * time.Hour}).Draw(t, "by")
	if after := rapid.IntRange(0, 12).Draw(t, "steps"); after > 0 {
		h.note("a clock leaps by %v after %d steps", by, after)
		g.process.After(after, func() {
			h.w.run.count("clock: leapt during a read")
			g.leapt.Store(int64(by))
			g.ahead.Add(int64(by))
		})
		h.do(t, scene{mood: h.drawMood(t)}, h.drawReads(t, g, 2)...)
		g.process.After(1, nil)
		g.leapt.Store(0)
		return
	}
	h.note("a clock leaps by %v", by)
	h.w.run.count("clock: leapt")
	g.ahead.Add(int64(by))
}

// access asks how many calls are left and then makes one: both must agree.
func (h *history) access(t *rapid.T) {
	_, g := h.drawGateway(t)
	r := h.drawRead(t, g, false)
	r.wants.NoCache = true
	for try := 1; ; try++ {
		h.w.run.stalls.breathe()
		began := time.Now()
		state, err := g.UnattendedAccess(context.Background(), h.query(r), r.account)
		if err != nil && try < tries {
			continue
		} else if err != nil {
			h.fail(t, "how many are left cannot be read", "%v", err)
		}
		o := h.do(t, scene{mood: good}, r)[0]
		went := slices.ContainsFunc(h.moody.arrivals(), func(a arrival) bool { return a.act == len(h.acts)-1 })
		switch {
		case state.Remaining > 0 && o.kind == "" && went:
			h.w.run.count("access: agreed on some")
		case state.Remaining > 0 && o.unfit && r.account == "" && state.Remaining < pagesOfAList && !went: // as is remembered
			h.w.run.count("access: pages do not fit")
		case state.Remaining > 0 && o.kind != canonical.UnattendedLimit && try < tries:
			h.slow(o)
			continue
		case state.Remaining > 0 && h.comeback(h.unit(h.call(r))): // a step that had no answer may have been taken since
		case state.Remaining > 0:
			h.fail(t, "fewer are left than were said to be", "%+v, %s", state, o.kind)
		case time.Since(began) >= state.Wait || h.comeback(h.unit(h.call(r))):
		case o.kind != canonical.UnattendedLimit || o.origin != canonical.OriginGateway || went:
			h.fail(t, "more are left than were said to be", "%+v, %s", state, o.kind)
		default:
			h.w.run.count("access: agreed on none")
		}
		return
	}
}

// pagesOfAList is how many pages a list has while the bank answers in pages of one account.
const pagesOfAList = 3

func anotherToken() canonical.Secret {
	return canonical.Secret(mypossim.TokenPrefix + uuid.NewString())
}

// How reads are made.

// tries is how often a read may fail that should not: what the machine is too slow for it fails now and then, what
// the gateway does wrong it does every time.
const tries = 8

// A scene is what is wrong while some reads are made.
type scene struct {
	mood    mood
	crashed *instance                  // crashes, by the end of the reads at the latest
	without *instance                  // has no counter, or a slow one
	redis   bool                       // is gone, at once or later
	during  func(done <-chan struct{}) // what happens beside the reads, until they are done
}

// do makes reads at once, waits until nothing is under way any more, and books what they may have cost.
func (h *history) do(t *rapid.T, s scene, reads ...read) []outcome {
	h.w.run.count("bank " + string(s.mood))
	a := act{began: time.Now(), first: len(h.moody.ledger.Calls())}
	h.acts = append(h.acts, a)
	connections := h.connections()
	h.moody.set(s.mood)
	for _, g := range h.gateways {
		switch s.mood { // the other moods are the bank's own
		case late:
			g.bank.Delay(h.timeout - scaled(20))
		case deaf:
			g.bank.Refuse()
		}
	}
	outcomes := make([]outcome, len(reads))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i, r := range reads {
		all.Go(func() { outcomes[i] = h.make(s, r) })
	}
	go func() { all.Wait(); close(done) }()
	if s.during != nil {
		s.during(done)
	}
	<-done
	for _, g := range h.gateways {
		if g != s.crashed {
			h.drain(t, g)
		}
	}
	if s.crashed != nil {
		h.end(s.crashed, a)
	}
	for range 2 { // Redis has then read what was sent to it before
		h.state(t, h.judge, unattended.Call{ASPSP: h.bank.ID})
	}
	for _, g := range h.gateways {
		g.bank.Delay(0)
		g.bank.Open()
	}
	h.moody.set(good)
	h.book(t, s, a, h.connections()-connections, reads, outcomes)
	return outcomes
}

func (h *history) drain(t *rapid.T, g *instance) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*minute)
	defer cancel()
	if err := g.Drain(ctx); err != nil {
		h.fail(t, "a gateway does not come to rest", "%v", err)
	}
}

// end tells at which step a gateway crashed. One that still lives does so at rest.
func (h *history) end(g *instance, a act) {
	if !g.process.Crashed() {
		g.process.Crash()
		h.w.run.count("crash: at rest")
		return
	}
	last := g.process.LastStep()
	names := map[*crashproxy.Proxy]string{g.count: "the counter", g.cache: "the cache", g.bank: "the bank"}
	step := "asked " + names[last.Proxy]
	if last.FromServer {
		step = names[last.Proxy] + " answered"
	}
	if last.Proxy == g.count && len(h.moody.ledger.Calls()) > a.first {
		step += ", after the bank"
	}
	h.note("it crashed: %s", step)
	h.w.run.count("crash: " + step)
}

// connections is how many there were to the bank.
func (h *history) connections() int {
	n := 0
	for _, g := range h.gateways {
		n += g.bank.Accepted()
	}
	return n
}

func (h *history) query(r read) canonical.Query {
	q := canonical.Query{ASPSP: h.bank.ID, Consent: r.consent, Token: r.token, RequestID: requestID(len(h.acts) - 1)}
	if r.attended {
		return attended(q)
	}
	return q
}

// make makes one read. An attended one is to succeed whatever the counter does; so that a machine which was slow is
// not blamed on the gateway, it has some tries.
func (h *history) make(s scene, r read) outcome {
	time.Sleep(r.after)
	began := time.Now()
	for try := 1; ; try++ {
		o := h.ask(r)
		h.w.run.count("reads")
		if !r.attended {
			h.w.run.count("unattended: " + string(o.kind))
			return o
		}
		o.from = began // a call that was slow may still tell the next one how it ended
		if o.kind == "" || try == tries || !h.mustWork(s, r) {
			return o
		}
		h.slow(o)
		h.w.run.stalls.breathe()
	}
}

// slow reports whether the machine had so little time during a read that it failed for that, and counts it if not.
func (h *history) slow(o outcome) bool {
	if h.w.run.stalls.lag(o.from, o.to) > h.timeout/4 {
		h.w.run.count("failures of a slow machine")
		return true
	}
	h.w.run.count("failures for nothing")
	return false
}

func (h *history) mustWork(s scene, r read) bool {
	return r.attended && s.mood.answers() && s.crashed != r.at && r.leave == 0
}

func (h *history) ask(r read) outcome {
	ctx := context.Background()
	if r.leave > 0 {
		bounded, cancel := context.WithTimeout(ctx, r.leave)
		defer cancel()
		ctx = bounded
	}
	o := outcome{from: time.Now()}
	var err error
	if r.account == "" {
		var list gateway.AccountsResult
		list, err = r.at.Accounts(ctx, client, h.query(r), r.wants)
		o.cached = list.Cache.Hit || list.Cache.Collapsed
		o.blind = list.Freshness.StaleReason == gateway.StaleWithoutCounter
		o.vague = list.Freshness.StaleReason == gateway.StaleWithoutProvider
	} else {
		_, err = r.at.Balances(ctx, client, h.query(r), r.account)
	}
	o.to = time.Now()
	var failure *canonical.Error
	if errors.As(err, &failure) {
		o.kind, o.origin, o.unfit = failure.Kind, failure.Origin, failure.Slots != nil
		o.blind = failure.Kind == canonical.CounterUnavailable
	}
	return o
}

// call is what a read counts as.
func (h *history) call(r read) unattended.Call {
	return unattended.Call{ASPSP: h.bank.ID, Consent: r.consent, Account: r.account}
}

// unit is what a call is counted with.
func (h *history) unit(c unattended.Call) string {
	switch h.bank.Unattended.Unit {
	case config.UnitASPSP:
		return "all"
	case config.UnitConsent:
		return c.Consent
	case config.UnitResource:
	}
	return c.Consent + " " + c.Account
}

// unitOf is the unit of a call that the bank recorded.
func (h *history) unitOf(c aspspsim.Call) string {
	return h.unit(unattended.Call{Consent: c.Consent, Account: c.Account})
}
