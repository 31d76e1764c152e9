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
		old:  `rest[:size], rest[size:], []byte(name)); err`, new: `rest[:size], rest[size:], nil); err`,
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
		old:  `if forgotten and ARGV[5] ~= '1' then`, new: `if false then`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "format-mark-ignored",
		file: "internal/cache/seal.go",
		old:  ` || value[0] != sealFormat`, new: ``,
		packages: []string{"./internal/cache"},
		run:      "^TestLaterFormatIsAMiss$",
	},
	{
		name: "cache-future-believed",
		file: "internal/cache/cache.go",
		old:  ` || e.FetchedAt.Sub(now) > aheadAtMost`, new: ``,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-corrupt-is-an-error",
		file: "internal/cache/cache.go",
		old: `	return ok && json.Unmarshal(text, into) == nil
`, new: `	if !ok && value != "" {
		panic("unreadable")
	}
	return ok && json.Unmarshal(text, into) == nil
`,
		packages: []string{"./internal/cache"},
	},
	{
		name: "cache-second-key-unread",
		file: "internal/cache/seal.go",
		old:  `range s.keys {`, new: `range s.keys[:1] {`,
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
		name: "cache-forgets-only-with-memory",
		file: "internal/cache/forget.lua",
		old: `local forgotten = redis.call('DEL', KEYS[1])
`, new: `local forgotten = 0
`,
		packages: []string{"./internal/cache"},
		run:      "^TestForgetsWithoutMemory$",
	},
	{
		name: "cache-foreign-entry-is-an-error",
		file: "internal/cache/acquire.lua",
		old:  `local holder = kept[1]`, new: `redis.call('GET', KEYS[3])
local holder = kept[1]`,
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
		name: "cache-older-over-newer",
		file: "internal/cache/finish.lua",
		old:  `other > tonumber(string.sub(ARGV[3], 1, 16))`, new: `false`,
		packages: []string{"./internal/cache"},
		run:      "^TestLostLeaseKeepsTheList$",
	},
	{
		name: "cache-late-lease-brings-back",
		file: "internal/cache/finish.lua",
		old:  `>= tonumber(ARGV[9])`, new: `>= math.huge`,
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
