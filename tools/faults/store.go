package main

// storeFaults are those of internal/store, internal/secretwatch and what tests run Redis with.
var storeFaults = []fault{
	{
		name: "counter-consent-in-clear",
		file: "internal/store/name.go",
		old:  `kind + ":{" + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)) + "}:"`, new: `kind + ":{" + owner[len(owner)-1] + base64.RawURLEncoding.EncodeToString(nil) + "}:"`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "format-version-changed",
		file: "internal/store/name.go",
		old:  `const version = "1"`, new: `const version = "2"`,
		packages: []string{"./deploy"},
		run:      "^TestReadsEveryFormat$",
	},
	{
		name: "store-tls-off",
		file: "internal/store/store.go",
		old:  `TLSConfig:             c.TLS.Client(),`, new: ``,
		packages: []string{"./internal/store"},
		run:      "^TestTLS$",
	},
	{
		name: "ready-permission-unseen",
		file: "internal/store/health.go",
		old: `	pipe.ZScore(ctx, key, "-")
`, new: ``,
		packages: []string{"./internal/store"},
		run:      "^TestHealthOfAUser$",
	},
	{
		name: "store-proxy-stormed",
		file: "internal/store/dial.go",
		old:  `c.unproven >= maxUnproven && now`, new: `false && now`,
		packages: []string{"./internal/store"},
		run:      "^TestAcceptAndClose$",
	},
	{
		name: "store-old-connections-used",
		file: "internal/store/dial.go",
		old:  `if w.of.old(w.age) {`, new: `if false {`,
		packages: []string{"./internal/store"},
		run:      "^TestDeadConnectionsCostNothing$",
	},
	{
		name: "store-embedded-never-expires",
		file: "internal/store/embedded.go",
		old:  `m.ClockTTL(true)`, new: `m.ClockTTL(false)`,
		packages: []string{"./internal/store"},
		run:      "^TestEmbeddedExpires$",
	},
	{
		name: "ready-evicts-unseen",
		file: "internal/store/health.go",
		old:  `h.Policy != "" && h.Policy != NoEviction`, new: `h.Policy == "allkeys-random"`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestReadySaysWhatIsWrongWithRedis$",
	},
	{
		name: "store-dead-connections",
		file: "internal/store/store.go",
		old: `	rdb.AddHook(again{})
`, new: ``,
		packages: []string{"./internal/store"},
		run:      "^TestDeadConnectionsCostNothing$",
	},
	{
		name: "store-one-node-asked",
		file: "internal/store/health.go",
		old:  `err = rdb.ForEachMaster(ctx, look)`, new: `err = nil`,
		packages: []string{"./internal/store"},
		run:      "^TestHealth$",
	},
	{
		name: "store-replicas-not-looked-for",
		file: "internal/store/health.go",
		old:  `n < s.replicas`, new: `n < 0`,
		packages: []string{"./internal/store"},
		run:      "^TestHealth$",
	},
	{
		name: "store-commands-of-nodes-not-told",
		file: "internal/store/cluster.go",
		old:  `			node.AddHook(observed{by})`, new: `			_ = observed{by}`,
		packages: []string{"./internal/store"},
		run:      "^TestCommandsOfAClusterAreTold$",
	},
	{
		name: "store-silence-is-no-fault",
		file: "internal/store/observe.go",
		old:  `		return "timeout"`, new: `		return ""`,
		packages: []string{"./internal/store"},
		run:      "^TestCommandsAreTold$",
	},
	{
		name: "renew-half-written",
		file: "internal/secretwatch/renew.go",
		old:  `if p.seen != p.tried && p.seen == before {`, new: `if p.seen != p.tried && before == before {`,
		packages: []string{"./internal/secretwatch"},
	},
	{
		name: "renew-logged-at-every-look",
		file: "internal/secretwatch/renew.go",
		old:  "	p.tried = p.seen\n", new: "",
		packages: []string{"./internal/secretwatch"},
	},
	{
		name: "renew-changed-while-read",
		file: "internal/secretwatch/renew.go",
		old:  `if standing(p.Files) != p.seen {`, new: `if false {`,
		packages: []string{"./internal/secretwatch"},
	},
	{
		name: "renew-panic-ends-the-gateway",
		file: "internal/secretwatch/renew.go",
		old:  `if r := recover(); r != nil {`, new: `if r := any(nil); r != nil {`,
		packages: []string{"./internal/secretwatch"},
	},
	{
		name: "renew-broken-not-told",
		file: "internal/secretwatch/renew.go",
		old:  `p.stale.Store(err != nil)`, new: `p.stale.Store(false)`,
		packages: []string{"./internal/secretwatch"},
	},
	{
		name: "store-scripts-after-a-restart",
		file: "internal/store/again.go",
		old:  `return redis.HasErrorPrefix(err, "NOSCRIPT")`, new: `return false`,
		packages: []string{"./internal/store"},
		run:      "^TestDeadConnectionsCostNothing$",
	},
}
