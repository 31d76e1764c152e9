package main

// configFaults are those of internal/config.
var configFaults = []fault{
	{
		name: "faults-out-of-order-in-a-line",
		file: "internal/config/strict/document.go",
		old:  `cmp.Compare(d.column(a), d.column(b))`, new: `0`,
		packages: []string{"./internal/config"},
		run:      "^TestAllFaultsAtOnce$",
	},
	{
		name: "syntax-error-quotes-the-file",
		file: "internal/config/strict/document.go",
		old:  "if strings.Contains(message, `\"`) {", new: `if message == "" {`,
		packages: []string{"./internal/config/strict"},
	},
	{
		name: "help-on-standard-error",
		file: "cmd/gateway/help.go",
		old:  `fmt.Fprint(l.stdout, l.command.help())`, new: `fmt.Fprint(l.stderr, l.command.help())`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCommandLine$",
	},
	{
		name: "audit-own-key-ignored",
		file: "internal/config/audit.go",
		old: `	return keys[0]
`, new: `	return nil
`,
		packages: []string{"./internal/config"},
	},
	{
		name: "closed-until-for-nobody",
		file: "internal/config/unattended.go",
		old:  `if c.Unattended.ClosedUntil.After(policy.ClosedUntil) {`, new: `if false {`,
		packages: []string{"./test/deploy"},
		run:      "^TestClosedUntil$",
	},
	{
		name: "closed-until-over-a-later-one",
		file: "internal/config/unattended.go",
		old:  `c.Unattended.ClosedUntil.After(policy.ClosedUntil)`, new: `!c.Unattended.ClosedUntil.IsZero()`,
		packages: []string{"./internal/config"},
		run:      "^TestPolicies$",
	},
	{
		name: "store-tls-unverified",
		file: "internal/config/redis.go",
		old:  `ServerName: t.ServerName}`, new: `ServerName: t.ServerName, InsecureSkipVerify: true}`,
		packages: []string{"./internal/store"},
		run:      "^TestTLS$",
	},
	{
		name: "store-tls-without-certificate",
		file: "internal/config/redis.go",
		old:  `c.Certificates = []tls.Certificate{pair}`, new: `_ = pair`,
		packages: []string{"./internal/store"},
		run:      "^TestTLS$",
	},
	{
		name: "renew-files-of-the-start",
		file: "internal/config/again.go",
		old:  `again, err := decode(c.file, nil)`, new: `again, err := c, error(nil)`,
		packages: []string{"./internal/config"},
	},
	{
		name: "tls-callers-not-verified",
		file: "internal/config/server.go",
		old:  `c.ClientAuth = tls.RequireAndVerifyClientCert`, new: `c.ClientAuth = tls.RequireAnyClientCert`,
		packages: []string{"./test/gateway"},
		run:      "^TestMutualTLS$",
	},
	{
		name: "tls-callers-optional",
		file: "internal/config/server.go",
		old:  `c.ClientAuth = tls.RequireAndVerifyClientCert`, new: `c.ClientAuth = tls.VerifyClientCertIfGiven`,
		packages: []string{"./test/gateway"},
		run:      "^TestMutualTLS$",
	},
	{
		name: "tls-sessions-outlive-authorities",
		file: "internal/config/server.go",
		old:  `SessionTicketsDisabled: true`, new: `SessionTicketsDisabled: false`,
		packages: []string{"./internal/config"},
	},
	{
		name: "tls-authorities-cut-short",
		file: "internal/config/server.go",
		old:  `n > 0 && n == bytes.Count(`, new: `n > 0 && n <= bytes.Count(`,
		packages: []string{"./internal/config"},
	},
	{
		name: "config-symmetric-algorithm",
		file: "internal/config/clients.go",
		old:  `		c.holds(at, slices.Contains(Algorithms(), a),`, new: `		c.holds(at, slices.Contains(append(Algorithms(), "HS256", "none"), a),`,
		packages: []string{"./internal/config"},
	},
	{
		name: "config-key-named-as-issued",
		file: "internal/config/clients.go",
		old:  `!strings.HasPrefix(k.Name, IssuedPrefix)`, new: `true`,
		packages: []string{"./internal/config"},
	},
	{
		name: "provider-ca-unchecked",
		file: "internal/config/way.go",
		old:  ` || p.Roots() != nil`, new: ` || true`,
		packages: []string{"./internal/config"},
		run:      "^TestOneFault$",
	},
}
