package main

// cacheFaults are those of internal/cache.
var cacheFaults = []fault{
	{
		name: "cache-other-clients-list",
		file: "internal/cache/cache.go",
		old:  `store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)`, new: `store.Prefix("accounts", k.ASPSP, k.Consent)`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-name-not-bound",
		file: "internal/cache/seal.go",
		old:  `append([]byte{schema}, name...)`, new: `[]byte{schema}`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-nonce-reused",
		file: "internal/cache/seal.go",
		old: `	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
`, new: `	_ = rand.Read
`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-lease-never-expires",
		file: "internal/cache/acquire.lua",
		old:  `ARGV[1], 'PX', ARGV[2])`, new: `ARGV[1])`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-lease-of-everybody",
		file: "internal/cache/cache.go",
		old:  `lease.Held = got[0] == lease.holder`, new: `lease.Held = true`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-lost-lease-still-stores",
		file: "internal/cache/finish.lua",
		old:  `if holder and holder ~= ARGV[1] then`, new: `if false then`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-forgotten-comes-back",
		file: "internal/cache/finish.lua",
		old:  `elseif list ~= '' and registered and not late then`, new: `elseif list ~= '' then`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "format-mark-ignored",
		file: "internal/cache/cache.go",
		old:  ` || sealed[0] > listSchema`, new: ``,
		packages: []string{"./internal/cache"},
		run:      "^TestSchemas$",
	},
	{
		name: "cache-later-schema-overwritten",
		file: "internal/cache/finish.lua",
		old:  `string.byte(kept, 17) > tonumber(ARGV[10])`, new: `false`,
		packages: []string{"./internal/cache"},
		run:      "^TestSchemas$",
	},
	{
		name: "cache-future-believed",
		file: "internal/cache/cache.go",
		old:  ` || fetched.Sub(now) > aheadAtMost`, new: ``,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-corrupt-is-an-error",
		file: "internal/cache/cache.go",
		old: `	if !ok || len(text) < dateSize || string(text[:dateSize]) != date {
`, new: `	if !ok {
		panic("unreadable")
	}
	if len(text) < dateSize || string(text[:dateSize]) != date {
`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-second-key-unread",
		file: "internal/cache/seal.go",
		old:  `for _, key := range s.keys {`, new: `for _, key := range s.keys[:1] {`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "gateway-failure-of-before-shared",
		file: "internal/cache/cache.go",
		old:  ` && !told.Ended.Before(l.given)`, new: ``,
		packages: []string{"./internal/gateway"},
		run:      "^(TestResultOfBeforeIsNotShared|TestOverloadIsNotShared)$",
	},
	{
		name: "cache-stores-without-memory",
		file: "internal/cache/finish.lua",
		old: `local registered = redis.call('ZSCORE', KEYS[4], ARGV[1])
`, new: `local registered = redis.call('ZSCORE', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[1])
`,
		packages: []string{"./internal/cache"},
		run:      "^TestNothingIsWrittenWithoutMemory$",
	},
	{
		name: "cache-deletion-spares-the-calls",
		file: "internal/cache/cache.go",
		old:  `c.rdb.Del(ctx, p+"list", p+"calls")`, new: `c.rdb.Del(ctx, p+"list")`,
		packages: []string{"./internal/cache"},
		run:      "^TestForgottenStaysForgotten$",
	},
	{
		name: "cache-register-never-ends",
		file: "internal/cache/finish.lua",
		old: `redis.call('ZREM', KEYS[4], ARGV[1])
`, new: ``,
		packages: []string{"./internal/cache"},
		run:      "^TestNothingInClearInRedis$",
	},
	{
		name: "cache-foreign-entry-is-an-error",
		file: "internal/cache/acquire.lua",
		old:  `redis.call('MGET', KEYS[3])[1]`, new: `redis.call('GET', KEYS[3])`,
		packages: []string{"./internal/cache"},
		run:      "^TestForeignEntries$",
	},
	{
		name: "cache-lost-lease-loses-the-list",
		file: "internal/cache/finish.lua",
		old:  `if holder and holder ~= ARGV[1] then`, new: `if holder ~= ARGV[1] then`,
		packages: []string{"./internal/cache"},
		run:      "^TestLostLeaseKeepsTheList$",
	},
	{
		name: "cache-overwrites-other-keys-lists",
		file: "internal/cache/finish.lua",
		old:  `and not belongs_to_others(now - other)`, new: ``,
		packages: []string{"./internal/gateway"},
		run:      "^TestGatewaysWithDifferentKeys$",
	},
	{
		name: "gateway-slots-for-other-keys-lists",
		file: "internal/gateway/accounts.go",
		old:  `if a.unreadable && !a.q.Attended()`, new: `if false && !a.q.Attended()`,
		packages: []string{"./internal/gateway"},
		run:      "^TestGatewaysWithDifferentKeys$",
	},
	{
		name: "cache-older-over-newer",
		file: "internal/cache/finish.lua",
		old:  `not newer and not`, new: `not`,
		packages: []string{"./internal/cache"},
		run:      "^TestLostLeaseKeepsTheList$",
	},
	{
		name: "cache-late-lease-brings-back",
		file: "internal/cache/finish.lua",
		old:  `late = ARGV[2], ARGV[4] == '1', ARGV[5], ARGV[7] == '1'`, new: `late = ARGV[2], ARGV[4] == '1', ARGV[5], false`,
		packages: []string{"./internal/gateway"},
		run:      "^TestLateLeaseBringsNothingBack$",
	},
	{
		name: "renew-cache-keys-not-swapped",
		file: "internal/cache/cache.go",
		old: `if err == nil {
		c.seal.Store(&seal)`, new: `if err == nil && c.seal.Load() == nil {
		c.seal.Store(&seal)`,
		packages: []string{"./test/gateway"},
		run:      "^TestSecretsAreRenewedWhileRequestsGoOn$",
	},
	{
		name: "renew-cache-second-key-dropped",
		file: "internal/cache/cache.go",
		old:  `seal, err := newSealer(keys)`, new: `seal, err := newSealer(keys[:min(1, len(keys))])`,
		packages: []string{"./test/gateway"},
		run:      "^TestSecretsAreRenewedWhileRequestsGoOn$",
	},
	{
		name: "clients-share-lists",
		file: "internal/cache/cache.go",
		old:  `store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)`, new: `store.Prefix("accounts", k.ASPSP, k.Consent)`,
		packages: []string{"./test/gateway"},
		run:      "^TestClientsAreApart$",
	},
}
