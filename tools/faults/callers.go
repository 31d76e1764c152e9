package main

// callersFaults are those of internal/api and internal/auth.
var callersFaults = []fault{
	{
		name: "api-path-unescaped-twice",
		file: "internal/api/api.go",
		old:  `	if r.URL.RawPath == "" {`, new: `	if false && r.URL.RawPath == "" {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-private-address-accepted",
		file: "internal/api/ask/public.go",
		old: `	"10.0.0.0/8",
`, new: ``,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-private-address-in-6to4-accepted",
		file: "internal/api/ask/public.go",
		old:  `public(netip.AddrFrom4([4]byte(b[2:6])))`, new: `true`,
		packages: []string{"./internal/api"},
		run:      "^TestAddresses$",
	},
	{
		name: "api-invisible-consent-accepted",
		file: "internal/api/ask/headers.go",
		old:  `strings.ContainsFunc(v, invisible)`, new: `false`,
		packages: []string{"./internal/api"},
		run:      "^TestIllHeaders$",
	},
	{
		name: "api-different-credentials-accepted",
		file: "internal/api/ask/credential.go",
		old:  `(!isBearer || token != key)`, new: `!isBearer`,
		packages: []string{"./internal/api"},
		run:      "^TestWhoCalls$",
	},
	{
		name: "api-gone-caller-gets-a-status",
		file: "internal/api/problem.go",
		old:  `		panic(http.ErrAbortHandler)`, new: `		c.Status(x.Status)
		c.Writer.WriteHeaderNow()
		return`,
		packages: []string{"./internal/api"},
		run:      "^TestGoneCallerGetsNoResponse$",
	},
	{
		name: "api-responses-sniffed",
		file: "internal/api/record.go",
		old: `	c.Header("X-Content-Type-Options", "nosniff")
`, new: ``,
		packages: []string{"./internal/api"},
		run:      "^TestAnswers$",
	},
	{
		name: "api-header-twice-accepted",
		file: "internal/api/ask/headers.go",
		old: `	return "", true, sentTwice
`, new: `	return values[0], true, ""
`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-scope-not-asked",
		file: "internal/api/request.go",
		old:  `if !who.May(k.scope) {`, new: `if false {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-path-in-log",
		file: "internal/api/record.go",
		old:  `e.Method = verb(e.Method)`, new: `e.Method, e.Route = verb(e.Method), c.Request.URL.Path`,
		packages: []string{"./internal/api"},
	},
	{
		name: "canary-key-in-log",
		file: "internal/api/record.go",
		old:  `ClientBy: x.client.By,`, new: `ClientBy: x.client.By + c.GetHeader("X-API-Key"),`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-address-in-log",
		file: "internal/api/record.go",
		old:  `ClientBy: x.client.By,`, new: `ClientBy: x.client.By + c.ClientIP(),`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-consent-in-metrics",
		file: "internal/api/record.go",
		old: `		s.tell(c, x, start)
`, new: `		s.tell(c, x, start)
		x.Code += c.GetHeader("Consent-ID")
`,
		packages: []string{"./test/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "audit-only-of-clients",
		file: "internal/api/record.go",
		old:  `if recorded(c.Request) && !x.unkept {`, new: `if recorded(c.Request) && !x.unkept && x.Client != "" {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "audit-of-everything",
		file: "internal/api/record.go",
		old:  `return strings.HasPrefix(r.URL.Path, "/v1/")`, new: `return strings.HasPrefix(r.URL.Path, "/")`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-dots-accepted",
		file: "internal/api/ask/id.go",
		old:  `if id == "." || id == ".." {`, new: `if id == "." {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-numbers-as-names-of-parameters",
		file: "internal/api/ask/id.go",
		old:  `if digits > mostDigits || !`, new: `if digits > len(name) || !`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-one-fault-at-a-time",
		file: "internal/api/request.go",
		old:  `return formatError(faults)`, new: `return formatError(faults[:1])`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-problem-without-cache-control",
		file: "internal/api/record.go",
		old: `	c.Header("Cache-Control", "no-store")
`, new: ``,
		packages: []string{"./internal/api"},
	},
	{
		name: "reads-refused-without-a-counter-need-no-slot",
		file: "internal/api/answer/header.go",
		old:  `return reason == gateway.StaleByLimit || reason == gateway.StaleWithoutCounter`, new: `return reason == gateway.StaleByLimit`,
		packages: []string{"./internal/api"},
		run:      "^TestCacheHeaders$",
	},
	{
		name: "callers-all-wait-for-keys",
		file: "internal/auth/keyset.go",
		old:  `if s.waiting >= mostWaiting {`, new: `if false {`,
		packages: []string{"./internal/auth"},
		run:      "^TestFewWaitForKeys$",
	},
	{
		name: "callers-audience-ignored",
		file: "internal/auth/issuer.go",
		old:  `return slices.Contains(i.Audiences, a) }`, new: `return a != "" }`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-expired-accepted",
		file: "internal/auth/issuer.go",
		old:  `!now.Before(said.expires.Add(i.ClockSkew))`, new: `false`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-expiry-not-demanded",
		file: "internal/auth/issuer.go",
		old:  `said.expires.IsZero() || !now.Before(`, new: `!said.expires.IsZero() && !now.Before(`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-nbf-ignored",
		file: "internal/auth/issuer.go",
		old:  `now.Add(i.ClockSkew).Before(said.notBefore) || `, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-iat-ignored",
		file: "internal/auth/issuer.go",
		old:  ` || now.Add(i.ClockSkew).Before(said.issued)`, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-signature-unverified",
		file: "internal/auth/issuer.go",
		old:  `	if !slices.ContainsFunc(found, verifies) {`, new: `	s.payload = jws.UnsafePayloadWithoutVerification()
	if false && !slices.ContainsFunc(found, verifies) {`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-any-algorithm",
		file: "internal/auth/issuer.go",
		old:  `	keys := &keySet{fetch`, new: `	o.Algorithms = config.Algorithms()
	keys := &keySet{fetch`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-key-for-another-algorithm",
		file: "internal/auth/issuer.go",
		old:  `return k.Algorithm == algorithm`, new: `return true`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-name-is-the-id",
		file: "internal/auth/issuer.go",
		old:  `config.IssuedPrefix + strconv.Quote(i.Issuer) + said.claim + strconv.Quote(said.name)`, new: `said.name + strconv.Quote("")[1:1]`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-issuers-share-clients",
		file: "internal/auth/issuer.go",
		old:  `strconv.Quote(i.Issuer) + said.claim`, new: `said.claim`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-claim-not-in-the-id",
		file: "internal/auth/issuer.go",
		old:  `strconv.Quote(i.Issuer) + said.claim + strconv`, new: `strconv.Quote(i.Issuer) + strconv`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-grant-beside-scopes",
		file: "internal/auth/issuer.go",
		old:  `if !said.scoped {`, new: `if true {`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-token-as-a-key",
		file: "internal/auth/callers.go",
		old:  `	if shown.Bearer {`, new: `	if shown.Bearer || true {`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-empty-key-accepted",
		file: "internal/auth/key.go",
		old:  `text == "" || `, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-only-the-first-hash",
		file: "internal/auth/key.go",
		old:  `range k.SHA256 {`, new: `range k.SHA256[:min(1, len(k.SHA256))] {`,
		packages: []string{"./internal/auth"},
		run:      "^TestKeys$",
	},
	{
		name: "callers-every-key-tried-without-kid",
		file: "internal/auth/issuer.go",
		old:  `case kid == "" && len(fit) != 1:`, new: `case kid == "" && len(fit) == 0:`,
		packages: []string{"./internal/auth"},
		run:      "^TestTokensWithoutKeyID$",
	},
	{
		name: "callers-old-keys-stay",
		file: "internal/auth/key.go",
		old:  `	c.keys.Store(&keys)`, new: `	if c.keys.Load() != nil {
		keys = append(keys, *c.keys.Load()...)
	}
	c.keys.Store(&keys)`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-address-in-the-log",
		file: "internal/auth/token.go",
		old:  `"._:/-"`, new: `"._:/-@"`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "api-next-slot-by-the-clock-of-the-gateway",
		file: "internal/api/answer/situation.go",
		old:  `!known.IsZero()`, new: `false`,
		packages: []string{"./internal/api"},
		run:      "^TestUnattendedLimitInWords$",
	},
	{
		name: "callers-claim-twice",
		file: "internal/auth/token.go",
		old:  `_, twice := all[name.(string)]; twice {`, new: `_, twice := all[name.(string)]; twice && false {`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-large-token",
		file: "internal/auth/token.go",
		old:  `len(token) > maxToken || `, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-forged-keys-hammer",
		file: "internal/auth/keyset.go",
		old:  `now.Sub(s.tried) >= pause`, new: `now.Sub(s.tried) >= 0`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-no-shared-reading",
		file: "internal/auth/keyset.go",
		old:  `s.reading == nil && (s.tried`, new: `(s.tried`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-keys-lost-with-the-issuer",
		file: "internal/auth/keyset.go",
		old:  `	if s.failing = err != nil; !s.failing {`, new: `	if s.failing = err != nil; true {`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-keys-never-old",
		file: "internal/auth/keyset.go",
		old:  `look{s.keys, s.now().Sub(s.read) >= maxAge,`, new: `look{s.keys, false,`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-known-key-waits",
		file: "internal/auth/keyset.go",
		old:  `(len(found) == 0 || !known.failing)`, new: `true`,
		packages: []string{"./internal/auth"},
		run:      "^TestPatience$",
	},
	{
		name: "callers-endless-patience",
		file: "internal/auth/issuer.go",
		old:  `return &issuer{o, place, keys, c.Now, patience, c.Pseudonym}`, new: `return &issuer{o, place, keys, c.Now, 10 * patience, c.Pseudonym}`,
		packages: []string{"./internal/auth"},
		run:      "^TestPatience$",
	},
	{
		name: "callers-issuer-down-is-the-callers-fault",
		file: "internal/auth/issuer.go",
		old:  `	case errors.Is(signed.err, errNoKeys):`, new: `	case errors.Is(signed.err, errNoKeys) && false:`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-redirect-followed",
		file: "internal/auth/source.go",
		old: `		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
`, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-proxy-asked",
		file: "internal/auth/source.go",
		old: `			next: &http.Transport{
`, new: `			next: &http.Transport{
				Proxy: http.ProxyFromEnvironment,
`,
		packages: []string{"./internal/auth"},
		run:      "^TestIssuerNeverThroughProxy$",
	},
	{
		name: "callers-huge-document-read",
		file: "internal/auth/source.go",
		old:  `		resp.Body = http.MaxBytesReader(nil, resp.Body, maxDocument)`, new: `		_ = maxDocument`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-many-keys-taken",
		file: "internal/auth/source.go",
		old:  `len(keys) > maxKeys`, new: `false`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-short-key-taken",
		file: "internal/auth/source.go",
		old:  `public.N.BitLen() >= minBits && `, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-encryption-key-taken",
		file: "internal/auth/source.go",
		old:  `k.Use != "" && k.Use != "sig"`, new: `false`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-keys-without-tls",
		file: "internal/auth/source.go",
		old:  `!config.Loopback(u.Hostname()) || !strings`, new: `!strings`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-own-token-to-anybody",
		file: "internal/auth/source.go",
		old:  `c.token != "" && slices.Contains(c.hosts, origin(r.URL.String()))`, new: `c.token != ""`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-limit-shared",
		file: "internal/auth/limit.go",
		old: `b.all[id]
`, new: `b.all[id[:0]]
`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-refusal-takes-a-token",
		file: "internal/auth/limit.go",
		old:  `		taken.CancelAt(now)`, new: `		_ = taken`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-busy-client-forgotten",
		file: "internal/auth/limit.go",
		old:  `bucket.TokensAt(now) >= float64(bucket.Burst())`, new: `bucket != nil`,
		packages: []string{"./internal/auth"},
	},
	{
		name: "callers-idle-clients-kept",
		file: "internal/auth/limit.go",
		old: `	b.sweep(now)
`, new: ``,
		packages: []string{"./internal/auth"},
	},
	{
		name: "api-client-is-its-name",
		file: "internal/api/request.go",
		old:  `r.client, x.Client, x.client = who.ID,`, new: `r.client, x.Client, x.client = who.Name,`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-id-in-the-log",
		file: "internal/api/request.go",
		old:  `x.client = who.ID, who.Name, who`, new: `x.client = who.ID, string(who.ID), who`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-rate-limit-ignored",
		file: "internal/api/request.go",
		old:  `		if err := s.Callers.Admit(who); err != nil {`, new: `		if err := s.Callers.Admit(who); err != nil && false {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "clients-of-one-name-are-one",
		file: "internal/auth/issuer.go",
		old:  `config.IssuedPrefix + strconv.Quote(i.Issuer) + said.claim + strconv.Quote(said.name)`, new: `said.name + strconv.Quote("")[1:1]`,
		packages: []string{"./test/gateway"},
		run:      "^TestClientsAreApart$",
	},
	{
		name: "overload-in-all-off",
		file: "internal/api/load.go",
		old:  `if !s.all.Enter() {`, new: `if s.all.Enter(); false {`,
		packages: []string{"./internal/api"},
		run:      "^TestOverload$",
	},
	{
		name: "overload-clients-merged",
		file: "internal/api/request.go",
		old:  `s.each.Enter(r.client)`, new: `s.each.Enter("")`,
		packages: []string{"./internal/api"},
		run:      "^TestOverload$",
	},
	{
		name: "overload-place-not-given-back",
		file: "internal/api/load.go",
		old: `		defer s.all.Leave()
`, new: ``,
		packages: []string{"./internal/api"},
		run:      "^TestPlacesAreGivenBack$",
	},
}
