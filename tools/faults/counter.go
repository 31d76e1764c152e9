package main

// counterFaults are those of internal/unattended.
var counterFaults = []fault{
	{
		name: "counter-off-by-one",
		file: "internal/unattended/take.lua",
		old:  `blocked_until <= now and used < limit then`, new: `blocked_until <= now and used <= limit then`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-window-does-not-roll",
		file: "internal/unattended/usage.lua",
		old:  `text(now - window)`, new: `text(math.floor(now / window) * window)`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-key-never-expires",
		file: "internal/unattended/take.lua",
		old:  `  if redis.call('PTTL', KEYS[1]) < life then`, new: `  if false then`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-forgets-when-window-grows",
		file: "internal/unattended/take.lua",
		old:  `text(now - 2 * window))`, new: `text(now - window))`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-timeout-not-added",
		file: "internal/unattended/take.lua",
		old:  `redis.call('ZADD', KEYS[1], text(now + timeout), id)`, new: `redis.call('ZADD', KEYS[1], text(now), id)`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-step-twice-counts-twice",
		file: "internal/unattended/take.lua",
		old:  `local taken = redis.call('ZSCORE', KEYS[1], id)`, new: `local taken = false`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-closure-ignored",
		file: "internal/unattended/take.lua",
		old:  `and blocked_until <= now and used`, new: `and used`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-closure-shortened",
		file: "internal/unattended/close.lua",
		old:  `math.max(now + tonumber(ARGV[4]), tonumber(redis.call('GET', KEYS[2]) or '0'))`, new: `now + tonumber(ARGV[4])`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-fails-open",
		file: "internal/unattended/unattended.go",
		old: `			c.undo(slot) // Redis may have taken the step all the same, or take it later
		}
		return Slot{}, unavailable(err)
`, new: `			c.undo(slot)
		}
		return slot, nil
`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-unit-resource-merged",
		file: "internal/unattended/unattended.go",
		old:  `owner = append(owner, canonical.CountedID(call.Consent), "account", canonical.CountedID(call.Account))`, new: `owner = append(owner, canonical.CountedID(call.Consent))`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-undoing-panics",
		file: "internal/unattended/amends.go",
		old: `		defer rescue.Catch(context.Background(), slog.Default())
`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestPanicsInTheBackground$",
	},
	{
		name: "counter-telling-panics",
		file: "internal/unattended/amends.go",
		old: `	defer rescue.Catch(ctx, slog.Default())
`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestPanicsInTheBackground$",
	},
	{
		name: "counter-closure-lost-with-redis",
		file: "internal/unattended/unattended.go",
		old:  `c.unsaid.keep(unit.closed(), wait) {`, new: `c.unsaid.keep("", wait) {`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-late-step-stays",
		file: "internal/unattended/unattended.go",
		old:  "\t\tc.undo(slot) // Redis may have taken the step all the same, or take it later\n", new: ``,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-old-entries-stay",
		file: "internal/unattended/take.lua",
		old:  "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 2 * window))\n", new: ``,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-wait-after-lowered-limit",
		file: "internal/unattended/usage.lua",
		old:  `local first = math.max(used - limit, 0)`, new: `local first = 0`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "format-slots-named-otherwise",
		file: "internal/unattended/unattended.go",
		old:  `return u.prefix + "closed"`, new: `return u.prefix + "shut"`,
		packages: []string{"./deploy"},
		run:      "^TestFormat$",
	},
	{
		name: "format-slots-by-the-take",
		file: "internal/unattended/take.lua",
		old:  `redis.call('ZADD', KEYS[1], text(now + timeout), id)`, new: `redis.call('ZADD', KEYS[1], text(now), id)`,
		packages: []string{"./deploy"},
		run:      "^TestFormat$",
	},
	{
		name: "format-closure-unreadable-is-none",
		file: "internal/unattended/usage.lua",
		old:  `tonumber(redis.call('GET', KEYS[2]) or '0'))`, new: `tonumber(redis.call('GET', KEYS[2]) or '0') or 0)`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnreadableCountFailsClosed$",
	},
	{
		name: "counter-not-atomic",
		file: "internal/unattended/unattended.go",
		old: `	ok, state, err := c.step(ctx, slot.unit, slot.id, timeout)
`, new: `	ok, state, err := c.step(ctx, slot.unit, "", timeout)
	if err == nil && state.Remaining > 0 {
		ok, err = true, c.rdb.ZAdd(ctx, slots, redis.Z{Score: float64(time.Now().Add(timeout).UnixMicro()), Member: slot.id}).Err()
	}
`,
		packages: []string{"./internal/unattended"},
		run:      "^TestManyCallersGetFourTogether$",
	},
	{
		name: "counter-look-without-write",
		file: "internal/unattended/take.lua",
		old:  `redis.call('ZADD', KEYS[1], 'XX', 0, '-')`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestRedisThatCannotCount$",
	},
	{
		name: "counter-replicas-not-waited-for",
		file: "internal/unattended/redis.go",
		old:  `have.Val() < int64(c.replicas)`, new: `have.Val() < 0`,
		packages: []string{"./internal/unattended"},
		run:      "^TestWaitsForReplicas$",
	},
	{
		name: "counter-wait-at-any-node",
		file: "internal/unattended/redis.go",
		old:  `cluster.MasterForKey(ctx, keys[0])`, new: `cluster.MasterForKey(ctx, "any")`,
		packages: []string{"./internal/unattended"},
		run:      "^TestWaitsForReplicasInACluster$",
	},
	{
		name: "counter-scripts-flushed",
		file: "internal/unattended/redis.go",
		old:  `if redis.HasErrorPrefix(err, "NOSCRIPT") {`, new: `if false {`,
		packages: []string{"./internal/unattended"},
		run:      "^TestWaitsForReplicas$",
	},
	{
		name: "counter-give-back-tried-once",
		file: "internal/unattended/unattended.go",
		old: `		s.counter.undo(s)
		return err
`, new: `		return err
`,
		packages: []string{"./internal/unattended"},
		run:      "^TestGivenBackLater$",
	},
	{
		name: "counter-one-id-for-all",
		file: "internal/unattended/unattended.go",
		old:  `id: uuid.NewString()}`, new: `id: uuid.NewSHA1(uuid.Nil, []byte(slots)).String()}`,
		packages: []string{"./test/gateway"},
		run:      "^TestNeverAFifth$",
	},
	{
		name: "counter-closure-never-expires",
		file: "internal/unattended/close.lua",
		old:  `, 'PX', text(math.ceil((last - now) / 1000) + 1000))`, new: `)`,
		packages: []string{"./test/gateway"},
		run:      "^TestMemoryOfTheCounter$",
	},
	{
		name: "counter-release-not-tracked",
		file: "internal/unattended/unattended.go",
		old:  `	track(ctx, state, blocked == 0)`, new: `	_ = blocked`,
		packages: []string{"./internal/unattended"},
		run:      "^TestTrack$",
	},
	{
		name: "counter-expiry-not-permitted",
		file: "internal/unattended/take.lua",
		old:  `redis.call('PEXPIRE', KEYS[3], 1000)`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestNoPermission$",
	},
	{
		name: "counter-invisible-characters-counted-apart",
		file: "internal/canonical/counted.go",
		old:  `strings.Map(visible, foldCase(norm.NFKC.String(id)))`, new: `foldCase(norm.NFKC.String(id))`,
		packages: []string{"./internal/canonical"},
		run:      "^TestCountedID$",
	},
	{
		name: "counter-block-key-ends-with-its-value",
		file: "internal/unattended/close.lua",
		old:  `math.ceil((last - now) / 1000) + 1000`, new: `math.ceil((last - now) / 1000)`,
		packages: []string{"./internal/unattended"},
		run:      "^TestBlockOutlivesItsValue$",
	},
	{
		name: "counter-remembers-consents",
		file: "internal/unattended/unattended.go",
		old:  `	if err := c.say(ctx, u); err != nil {`, new: `	c.unsaid.keep(u.slots(), time.Hour)
	if err := c.say(ctx, u); err != nil {`,
		packages: []string{"./test/gateway"},
		run:      "^TestManyConsents$",
	},
	{
		name: "counter-life-shortened",
		file: "internal/unattended/take.lua",
		old:  `if redis.call('PTTL', KEYS[1]) < life then`, new: `if true then`,
		packages: []string{"./internal/unattended"},
		run:      "^TestLifeIsNotShortened$",
	},
	{
		name: "counter-closure-told-to-nobody",
		file: "internal/unattended/unattended.go",
		old:  `			go c.tell(context.WithoutCancel(ctx), unit)`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestClosureOutlivesAnOutage$",
	},
	{
		name: "counter-untold-closure-shortened",
		file: "internal/unattended/amends.go",
		old:  `until.After(c.until[key])`, new: `true`,
		packages: []string{"./internal/unattended"},
		run:      "^TestClosureOutlivesAnOutage$",
	},
	{
		name: "counter-frozen-replica-unseen",
		file: "internal/unattended/take.lua",
		old:  `if ARGV[6] == '1' then redis.call('SET', KEYS[3], '', 'PX', 1000) end`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestWaitsForReplicas$",
	},
	{
		name: "counter-wait-after-a-refusal",
		file: "internal/unattended/usage.lua",
		old:  `else grows = math.max(grows, blocked_until) end`, new: `else grows = blocked_until end`,
		packages: []string{"./internal/unattended"},
		run:      "^TestCloseOfAUsedUpUnit$",
	},
	{
		name: "model-window-halved",
		file: "internal/unattended/usage.lua",
		old:  `'(' .. text(now - window)`, new: `'(' .. text(now - window / 2)`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
		args:     []string{"-histories=2000"},
	},
	{
		name: "model-key-expires-early",
		file: "internal/unattended/take.lua",
		old:  `(2 * window + timeout) / 1000`, new: `(window / 2) / 1000`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
		args:     []string{"-histories=2000"},
	},
	{
		name: "units-of-this-gateway-alone",
		file: "internal/unattended/units.go",
		old:  `	return store.Prefix("units", aspsp, `, new: `	return store.Prefix("units", slog.AnyValue(u.wake).String(), aspsp, `,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreTheFleets$",
	},
	{
		name: "units-told-on-the-way-of-calls",
		file: "internal/unattended/units.go",
		old:  `	u.wait(time.Now(), x)`, new: `	u.tell(context.Background(), []unit{x})`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsHoldNobodyUp$",
	},
	{
		name: "units-scrape-waits-for-redis",
		file: "internal/unattended/units.go",
		old:  `context.WithTimeout(ctx, u.counting)`, new: `context.WithTimeout(ctx, 60*u.counting)`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsHoldNobodyUp$",
	},
	{
		name: "units-old-numbers-without-redis",
		file: "internal/unattended/units.go",
		old:  `		u.counts = u.ask(ctx)`, new: `		if now := u.ask(ctx); len(now) > 0 {
			u.counts = now
		}`,
		packages: []string{"./test/gateway"},
		run:      "^TestFleetIsTold$",
	},
	{
		name: "units-wait-without-bound",
		file: "internal/unattended/units.go",
		old:  `!waits && len(u.due) < maxDue {`, new: `!waits {`,
		packages: []string{"./internal/unattended"},
		run:      "^TestManyUnits$",
	},
	{
		name: "units-slots-given-back-not-told",
		file: "internal/unattended/unattended.go",
		old:  `	s.counter.units.note(s.unit)`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreTheFleets$",
	},
	{
		name: "units-closures-not-told",
		file: "internal/unattended/unattended.go",
		old:  `	c.units.note(u)`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreTheFleets$",
	},
	{
		name: "units-refusals-not-told",
		file: "internal/unattended/unattended.go",
		old:  `	if state.Remaining <= 1 {`, new: `	if ok && state.Remaining <= 1 {`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsByLimit$",
	},
	{
		name: "units-used-up-are-the-last-too",
		file: "internal/unattended/units.go",
		old:  `UnitsLast: max(n[1]-n[0], 0)`, new: `UnitsLast: n[1]`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreTheFleets$",
	},
	{
		name: "units-not-the-last-after-the-oldest-leaves",
		file: "internal/unattended/units.go",
		old:  `		s.last = newest[0].Score + window`, new: `		s.last = newest[len(newest)-1].Score + window`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsPass$",
	},
	{
		name: "units-that-are-past-kept",
		file: "internal/unattended/units.lua",
		old:  `  if past > 0 then`, new: `  if past < 0 then`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsPass$",
	},
	{
		name: "units-of-all-policies-together",
		file: "internal/unattended/units.go",
		old:  `aspsp, strconv.Itoa(p.Limit), p.Window.String(), string(p.Unit))`, new: `aspsp, p.Window.String(), string(p.Unit))`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsByLimit$",
	},
	{
		name: "units-aspsp-in-clear",
		file: "internal/unattended/units.go",
		old:  `store.Prefix("units", aspsp, `, new: `store.Prefix("units:"+aspsp, `,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreHashed$",
	},
	{
		name: "units-lost-that-were-just-told",
		file: "internal/unattended/units.go",
		old:  `	u.wait(before, left...)`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAtTheEnd$",
	},
	{
		name: "units-not-waited-for-at-the-end",
		file: "internal/unattended/units.go",
		old: `	u.telling.Lock()
	defer u.telling.Unlock()
`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAtTheEnd$",
	},
	{
		name: "units-told-once-alone",
		file: "internal/unattended/units.go",
		old:  `		for pause := settling; u.waiting(); {`, new: `		for pause, again := settling, true; again; again = false {`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsWaitForRedis$",
	},
	{
		name: "units-overtaken-by-older-words",
		file: "internal/unattended/units.go",
		old: `	for len(units) > 0 {
		stand :=`, new: `	for once := true; once; once = false {
		stand :=`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsAreNotOvertaken$",
	},
	{
		name: "units-not-left-alone",
		file: "internal/unattended/units.go",
		old:  `		if since.After(before) {`, new: `		if since.IsZero() {`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsSettle$",
	},
}
