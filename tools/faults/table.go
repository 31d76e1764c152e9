package main

// table is every fault that is planted. To add one: the text that stands in the file exactly once, what takes
// its place so that it still compiles, and the packages whose tests must see it.
var table = []fault{
	{
		name: "amount-sign-lost",
		file: "internal/canonical/amount.go",
		old:  "	a.negative = negative && !a.IsZero()\n", new: "	a.negative = false\n",
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-zero-debit",
		file: "internal/canonical/amount.go",
		old:  `a.negative = indicator == Debit && !a.IsZero()`, new: `a.negative = indicator == Debit`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-indicator-ignored",
		file: "internal/canonical/amount.go",
		old:  `a.negative = indicator == Debit && !a.IsZero()`, new: ``,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-contradiction-accepted",
		file: "internal/canonical/amount.go",
		old:  `, a.negative && indicator == Credit:`, new: `:`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-significant-digit-trimmed",
		file: "internal/canonical/amount.go",
		old:  `for len(frac) > minor && frac[len(frac)-1] == '0' {`, new: `for len(frac) > minor {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-trailing-zeros-kept",
		file: "internal/canonical/amount.go",
		old:  `for len(frac) > minor && frac[len(frac)-1] == '0' {`, new: `for false {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-minor-units-not-filled",
		file: "internal/canonical/amount.go",
		old:  `frac += strings.Repeat("0", minor-len(frac))`, new: `frac += ""`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-point-shifted-wrongly",
		file: "internal/canonical/amount.go",
		old:  `		exponent = -exponent`, new: `		exponent = -exponent + 1`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-exponent-sign-ignored",
		file: "internal/canonical/amount.go",
		old:  `if number[at+1] == '-' {`, new: `if number[at] == '-' {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-exponent-unbounded",
		file: "internal/canonical/amount.go",
		old:  `err != nil || exponent > maxAmountExponent {`, new: `err != nil || exponent > 1<<24 {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-19-digits-accepted",
		file: "internal/canonical/amount.go",
		old:  `len(whole) > maxIntegerDigits || `, new: `len(whole) > maxIntegerDigits+1 || `,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-leading-zero-accepted",
		file: "internal/canonical/amount.go",
		old:  `len(whole) > 1 && whole[0] == '0' || `, new: ``,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "amount-error-repeats-text",
		file: "internal/canonical/amount.go",
		old:  "	if !isDigits(digits) {\n		return \"\", 0, ErrAmountForm", new: "	if !isDigits(digits) {\n		return \"\", 0, errors.New(number)",
		packages: []string{"./internal/canonical"},
	},
	{
		name: "currency-minor-units-wrong",
		file: "internal/canonical/currency.go",
		old:  `OMR TND`, new: `OMR`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "currency-form-not-checked",
		file: "internal/canonical/currency.go",
		old:  `code[i] < 'A' || `, new: ``,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "iban-check-off",
		file: "internal/canonical/identification.go",
		old:  `return rest == 1`, new: `return rest >= 0`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "iban-check-digits-range-off",
		file: "internal/canonical/identification.go",
		old:  `check < "02" || check > "98"`, new: `check > "98"`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "iban-kept-as-on-paper",
		file: "internal/canonical/identification.go",
		old:  `return Identification{SchemeIBAN, compact}`, new: `return Identification{SchemeIBAN, value}`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "iban-that-fails-shown-as-iban",
		file: "internal/canonical/identification.go",
		old:  `return Identification{SchemeBBAN, value}`, new: `return Identification{SchemeIBAN, value}`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "pan-unmasked",
		file: "internal/canonical/identification.go",
		old:  `return Identification{SchemePAN, maskPAN(value)}`, new: `return Identification{SchemePAN, value}`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "pan-short-shown-whole",
		file: "internal/canonical/identification.go",
		old:  `if len(pan) < first+last+3 {`, new: `if len(pan) < first+last {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "pan-seventh-digit-shown",
		file: "internal/canonical/identification.go",
		old:  `first, last := 6, 4`, new: `first, last := 7, 4`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "balance-type-guessed",
		file: "internal/canonical/account.go",
		old:  `return BalanceTypeOther`, new: `return InterimAvailable`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "account-type-passed-through",
		file: "internal/canonical/account.go",
		old:  `return AccountTypeOther`, new: `return AccountType(word)`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "upstream-text-kept",
		file: "internal/canonical/error.go",
		old:  "		default:\n			return \"\"", new: "		default:\n			continue",
		packages: []string{"./internal/canonical"},
	},
	{
		name: "upstream-account-number-kept",
		file: "internal/canonical/error.go",
		old:  `digits > 4`, new: `digits > 40`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "kind-not-listed",
		file: "internal/canonical/error.go",
		old:  `Overloaded, NotCached, Canceled,`, new: `Overloaded, NotCached,`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "query-prints-consent",
		file: "internal/canonical/query.go",
		old:  `"query(aspsp %s, request %s)", q.ASPSP, q.RequestID)`, new: `"query(aspsp %s, request %s)%s", q.ASPSP, q.RequestID, q.Consent)`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "secret-marshals-itself",
		file: "internal/canonical/query.go",
		old:  `return []byte(hidden), nil`, new: `return []byte(s), nil`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "secret-prints-itself",
		file: "internal/canonical/query.go",
		old:  `{ fmt.Fprint(f, hidden) }`, new: `{ fmt.Fprint(f, string(s)) }`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "secret-logs-itself",
		file: "internal/canonical/query.go",
		old:  `return slog.StringValue(hidden)`, new: `return slog.StringValue(string(s))`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "query-without-user-attended",
		file: "internal/canonical/query.go",
		old:  `return q.PSU != nil`, new: `return q.PSU == nil`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "mastercard-debit-read-as-credit",
		file: "internal/providers/mastercard/wording.go",
		old:  `"debit":  canonical.Debit,`, new: `"debit":  canonical.Credit,`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-type-guessed",
		file: "internal/providers/mastercard/wording.go",
		old: `	"current":   canonical.InterimBooked,
`, new: `	"current":   canonical.InterimBooked,
	"interimcleared": canonical.InterimBooked,
`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-foreign-request-accepted",
		file: "internal/providers/mastercard/wire.go",
		old:  `case echo != nil && echo.RequestID != nil && !upstream.SameRequest(*echo.RequestID, requestID):`, new: `case false:`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-foreign-account-accepted",
		file: "internal/providers/mastercard/wire.go",
		old:  `id != nil && *id != accountID {`, new: `id == nil && accountID == "" {`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-null-in-body",
		file: "internal/providers/mastercard/wire.go",
		old:  "`json:\"merchant,omitempty\"`", new: "`json:\"merchant\"`",
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-unattended-says-live",
		file: "internal/providers/mastercard/wire.go",
		old:  `Live: q.Attended(),`, new: `Live: true,`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-new-sca-not-seen",
		file: "internal/providers/mastercard/errors.go",
		old: `	{says: []string{"sca", "required"}, kind: canonical.ConsentExpired},
`, new: ``,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-limit-not-seen",
		file: "internal/providers/mastercard/errors.go",
		old: `	{says: []string{"unattended", "limit"}, kind: canonical.UnattendedLimit},
	{says: []string{"unattended", "exceeded"}, kind: canonical.UnattendedLimit},
`, new: ``,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-padded-reason-not-trimmed",
		file: "internal/providers/mastercard/errors.go",
		old:  `	reason, own := fold(string(e.ReasonCode)), fold(c.reason)`, new: `	reason, own := strings.ToLower(string(e.ReasonCode)), fold(c.reason)`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-balance-dropped",
		file: "internal/providers/mastercard/wire.go",
		old:  `for _, wb := range w.Account.Balances {`, new: `for _, wb := range w.Account.Balances[min(1, len(w.Account.Balances)):] {`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mypos-page-dropped",
		file: "internal/providers/mypos/pages.go",
		old: `		return have == total, nil
`, new: `		return true, nil
`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-amount-through-float",
		file: "internal/providers/mypos/wire.go",
		old:  `canonical.ParseAmount(b.Amount.String(), b.Currency)`, new: `canonical.ParseAmount(func() string { f, _ := b.Amount.Float64(); t, _ := json.Marshal(f); return string(t) }(), b.Currency)`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-401-is-ours",
		file: "internal/providers/mypos/refusal.go",
		old:  `http.StatusUnauthorized:       canonical.ConsentInvalid,`, new: `http.StatusUnauthorized:       canonical.ProviderRejected,`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-quota-is-throttling",
		file: "internal/providers/mypos/refusal.go",
		old: `		return contains(text, quotaWords) && !contains(text, throttleWords)
`, new: `		return false
`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-address-made-up",
		file: "internal/providers/mypos/mypos.go",
		old: `	if q.PSU == nil {
		return h
`, new: `	if q.PSU == nil {
		h.Set("PSU-IP-Address", "203.0.113.7")
		return h
`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-request-id-rewritten",
		file: "internal/providers/mypos/mypos.go",
		old:  `h.Set("X-Request-ID", q.RequestID)`, new: `h.Set("X-Request-ID", strings.ToLower(q.RequestID))`,
		packages: []string{"./internal/providers/mypos"},
	},
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
		old:  `if !went.connected() && slot.GiveBack`, new: `if (failure != nil || !went.connected()) && slot.GiveBack`,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "wire-never-given-back",
		file: "internal/providers/upstream/upstream.go",
		old:  `if !went.connected() && slot.GiveBack`, new: `if went.connected() && false && slot.GiveBack`,
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
		old: `		if q.Attended() {
			break
		}
`, new: ``,
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
		file: "internal/providers/upstream/upstream.go",
		old:  `	case len(a.Body) > maxBody:`, new: `	case false:`,
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
		name: "counter-off-by-one",
		file: "internal/unattended/take.lua",
		old: `open and used < limit then
  -- Entries`, new: `open and used <= limit then
  -- Entries`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-window-does-not-roll",
		file: "internal/unattended/take.lua",
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
		old:  `if id ~= '' and redis.call('ZSCORE', KEYS[1], id) then`, new: `if false then`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-closure-ignored",
		file: "internal/unattended/take.lua",
		old:  `local open = closed_until <= now`, new: `local open = true`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-closure-shortened",
		file: "internal/unattended/close.lua",
		old:  `math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))`, new: `now + tonumber(ARGV[1])`,
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
		old:  `owner = append(owner, canonical.FoldID(call.Consent), "account", canonical.FoldID(call.Account))`, new: `owner = append(owner, canonical.FoldID(call.Consent))`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-consent-in-clear",
		file: "internal/store/name.go",
		old:  `kind + ":{" + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)) + "}:"`, new: `kind + ":{" + owner[len(owner)-1] + base64.RawURLEncoding.EncodeToString(nil) + "}:"`,
		packages: []string{"./internal/unattended"},
	},
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
		name: "gateway-stale-after-revocation",
		file: "internal/gateway/answer.go",
		old: `	return k == canonical.ConsentExpired || k == canonical.ConsentInvalid
`, new: `	return false
`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-stale-hides-a-no",
		file: "internal/gateway/answer.go",
		old:  "	switch k {\n", new: "	if k == canonical.ProviderRejected {\n		return StaleWithoutProvider\n	}\n	switch k {\n",
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-no-cache-gets-stale",
		file: "internal/gateway/accounts.go",
		old:  `if reason == NotStale || a.wants.NoCache {`, new: `if reason == NotStale {`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-max-age-loosens",
		file: "internal/gateway/accounts.go",
		old: `		return min(*a.wants.MaxAge, a.bank.Accounts.FreshFor)
`, new: `		return *a.wants.MaxAge
`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-kept-too-long",
		file: "internal/gateway/accounts.go",
		old:  `return kept.Age < a.bank.Accounts.KeepFor && !a.doomed()`, new: `return !a.doomed()`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-every-request-its-own-call",
		file: "internal/gateway/flight.go",
		old:  `	landed := g.flights.DoChan(name, func()`, new: `	landed := g.flights.DoChan(fmt.Sprint(name, &led), func()`,
		packages: []string{"./internal/gateway"},
		run:      "^TestEqualRequestsWithoutRedis$",
	},
	{
		name: "gateway-token-shared",
		file: "internal/gateway/flight.go",
		old:  `sha256.Sum256([]byte(q.Token.Reveal()))`, new: `sha256.Sum256(nil)`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-waits-for-redis",
		file: "internal/gateway/allowance.go",
		old:  `RedisAllowance = 100 * time.Millisecond`, new: `RedisAllowance = 900 * time.Millisecond`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "breaker-counts-consents",
		file: "internal/breaker/breaker.go",
		old:  `	case canonical.ConsentExpired, canonical.ConsentInvalid, canonical.AccountUnknown,`, new: `	case canonical.ConsentExpired:
		return failed
	case canonical.ConsentInvalid, canonical.AccountUnknown,`,
		packages: []string{"./internal/breaker"},
	},
	{
		name: "breaker-never-opens",
		file: "internal/breaker/breaker.go",
		old:  `n.ConsecutiveFailures >= c.ConsecutiveFailures ||`, new: `false ||`,
		packages: []string{"./internal/breaker"},
	},
	{
		name: "api-path-unescaped-twice",
		file: "internal/api/api.go",
		old:  `	if r.URL.RawPath == "" {`, new: `	if false && r.URL.RawPath == "" {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-private-address-accepted",
		file: "internal/api/ask/headers.go",
		old:  `judged.IsLoopback(), judged.IsPrivate(), `, new: `judged.IsLoopback(), `,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-header-twice-accepted",
		file: "internal/api/ask/headers.go",
		old: `	return "", true, givenTwice
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
		old:  `slog.String("route", x.Route),`, new: `slog.String("route", c.Request.URL.Path),`,
		packages: []string{"./internal/api"},
	},
	{
		name: "telemetry-label-of-the-consent",
		file: "internal/telemetry/request.go",
		old: `		attrs := append(t.aspsp(r.ASPSP), known)
		if t.knows`, new: `		hash := uint64(14695981039346656037)
		for _, b := range []byte(header.Get("Consent-ID")) {
			hash = (hash ^ uint64(b)) * 1099511628211
		}
		attrs := append(t.aspsp(r.ASPSP), known, semconv.ServerAddress(strconv.FormatUint(hash, 16)))
		if t.knows`,
		packages: []string{"./deploy"},
		run:      "^TestSeriesDoNotGrow$",
	},
	{
		name: "telemetry-any-status-as-a-label",
		file: "internal/telemetry/request.go",
		old:  `known := status == gone || http.StatusText(status) != ""`, new: `known := status == gone || status > 0`,
		packages: []string{"./deploy"},
		run:      "^TestSeriesDoNotGrow$",
	},
	{
		name: "telemetry-label-that-no-page-names",
		file: "internal/telemetry/request.go",
		old:  `attrs := append(t.aspsp(c.ASPSP), known)`, new: `attrs := append(t.aspsp(c.ASPSP), known, resultKey.String("hit"))`,
		packages: []string{"./deploy"},
		run:      "^TestTelemetryArrives$",
	},
	{
		name: "telemetry-trace-sent-to-providers",
		file: "internal/providers/upstream/upstream.go",
		old:  `	req.Header["User-Agent"] = []string{""} // net/http would name itself`,
		new: `	req.Header["User-Agent"] = []string{""}
	req.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")`,
		packages: []string{"./deploy"},
		run:      "^TestTelemetryArrives$/^nothing_is_sent_on$",
	},
	{
		name: "telemetry-trace-not-continued",
		file: "internal/telemetry/request.go",
		old:  `ctx = t.propagator.Extract`, new: `_ = t.propagator.Extract`,
		packages: []string{"./deploy"},
		run:      "^TestTelemetryArrives$/^traces$",
	},
	{
		name: "telemetry-without-exemplars",
		file: "internal/telemetry/telemetry.go",
		old:  `EnableOpenMetrics: true`, new: `EnableOpenMetrics: false`,
		packages: []string{"./deploy"},
		run:      "^TestTelemetryArrives$/^exemplars$",
	},
	{
		name: "telemetry-collector-holds-up-requests",
		file: "internal/telemetry/telemetry.go",
		old:  `sdktrace.WithBatcher(`, new: `sdktrace.WithSyncer(`,
		packages: []string{"./deploy"},
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
		old:  `slog.New(allowed{next: slog.NewMultiHandler(local.next, t.bridge(o, exp.logs, res)), lost: local.lost})`, new: `slog.New(slog.NewMultiHandler(local, t.bridge(o, exp.logs, res)))`,
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
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-key-in-log",
		file: "internal/api/record.go",
		old:  `slog.String("cache", x.Cache),`, new: `slog.String("cache", x.Cache+c.GetHeader("X-API-Key")),`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-address-in-log",
		file: "internal/api/record.go",
		old:  `slog.String("cache", x.Cache),`, new: `slog.String("cache", x.Cache+c.ClientIP()),`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-consent-in-metrics",
		file: "internal/api/record.go",
		old: `		s.audit(c, x, start)
`, new: `		s.audit(c, x, start)
		x.Code += c.GetHeader("Consent-ID")
`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-provider-text-in-problems",
		file: "internal/providers/upstream/content.go",
		old:  `return "body is encoded although no encoding was asked for"`, new: `return "body is encoded in " + codings`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-account-hashed-alone",
		file: "internal/gateway/flight.go",
		old:  `	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", canonical.FoldID(q.Consent), q.Token.Reveal(), account))`, new: `	hash := sha256.Sum256([]byte(account))`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "canary-consent-hashed-without-key",
		file: "internal/audit/audit.go",
		old:  `	return hex.EncodeToString(mac.Sum(nil)[:16])`, new: `	sum := sha256.Sum256([]byte(consent))
	return hex.EncodeToString(sum[:16])`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCanaries$",
	},
	{
		name: "audit-consent-unhashed",
		file: "internal/audit/audit.go",
		old:  `ConsentHash: l.pseudonym(r.Asked, r.Consent)`, new: `ConsentHash: r.Consent`,
		packages: []string{"./internal/audit"},
	},
	{
		name: "audit-hash-of-the-consent-alone",
		file: "internal/audit/audit.go",
		old:  `[]string{aspsp, canonical.FoldID(consent)}`, new: `[]string{"", canonical.FoldID(consent)}`,
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
		old: `		c.Logger.Warn("audit records are switched off")
`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAuditSinks$",
	},
	{
		name: "audit-off-not-in-readyz",
		file: "cmd/gateway/audit.go",
		old: `	case !s.Enabled:
		return []string{"audit records are switched off"}
`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAuditSinks$",
	},
	{
		name: "audit-failing-not-in-readyz",
		file: "cmd/gateway/audit.go",
		old:  `	case s.Failing:`, new: `	case s.Failing && s.Failures < 0:`,
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
		old:  `		if err := f.ready(); err != nil {`, new: `		if err := f.ready(); err != nil && f.torn {`,
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
		name: "audit-only-of-clients",
		file: "internal/api/record.go",
		old:  `	if !strings.HasPrefix(c.Request.URL.Path, "/v1/") {`, new: `	if !strings.HasPrefix(c.Request.URL.Path, "/v1/") || x.Client == "" {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "audit-of-everything",
		file: "internal/api/record.go",
		old:  `	if !strings.HasPrefix(c.Request.URL.Path, "/v1/") {`, new: `	if false {`,
		packages: []string{"./internal/api"},
	},
	{
		name: "audit-key-is-the-caches",
		file: "cmd/gateway/audit.go",
		old:  `keys[0], nil, auditPurpose, sha256.Size)`, new: `nil, keys[0], auditPurpose, sha256.Size)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAuditKeyFollows",
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
		name: "slots-not-counted",
		file: "cmd/gateway/observe.go",
		old:  `api.CountSlot(ctx, 1)`, new: `api.CountSlot(ctx, 0)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSlotsAreTold$",
	},
	{
		name: "slots-given-back-stay",
		file: "cmd/gateway/observe.go",
		old:  `api.CountSlot(ctx, -1)`, new: `api.CountSlot(ctx, 0)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSlotsAreTold$",
	},
	{
		name: "slots-of-refusals",
		file: "cmd/gateway/observe.go",
		old: `	case upstream.SlotTaken:
		api.CountSlot(ctx, 1)
	case upstream.SlotGivenBack:
		api.CountSlot(ctx, -1)
	case upstream.SlotRefused, upstream.SlotClosed, upstream.SlotUnavailable:`, new: `	case upstream.SlotTaken, upstream.SlotRefused:
		api.CountSlot(ctx, 1)
	case upstream.SlotGivenBack:
		api.CountSlot(ctx, -1)
	case upstream.SlotClosed, upstream.SlotUnavailable:`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSlotsAreTold$",
	},
	{
		name: "rescue-shows-what",
		file: "internal/rescue/rescue.go",
		old: `	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	}`, new: `	if fault, ok := value.(runtime.Error); ok {
		what = fault.Error()
	} else if text, ok := value.(string); ok {
		what = text
	}`,
		packages: []string{"./internal/rescue"},
	},
	{
		name: "gateway-flight-panics",
		file: "internal/gateway/flight.go",
		old: `			defer rescue.Catch(own, g.Logger)
`, new: `			_ = rescue.Catch
`,
		packages: []string{"./internal/gateway"},
		run:      "^TestPanicsInTheBackground$",
	},
	{
		name: "gateway-step-panics",
		file: "internal/gateway/allowance.go",
		old: `		defer rescue.Catch(own, slog.Default())
`, new: `		_, _ = rescue.Catch, slog.Default
`,
		packages: []string{"./internal/gateway"},
		run:      "^TestPanicsInTheBackground$",
	},
	{
		name: "gateway-background-panics",
		file: "internal/gateway/settle.go",
		old: `		defer rescue.Catch(context.Background(), g.Logger)
`, new: `		_ = rescue.Catch
`,
		packages: []string{"./internal/gateway"},
		run:      "^TestPanicsInTheBackground$",
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
		name: "api-dots-accepted",
		file: "internal/api/ask/id.go",
		old:  `if id == "." || id == ".." {`, new: `if id == "." {`,
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
		name: "iban-claimed-without-check",
		file: "internal/canonical/identification.go",
		old:  `		if validIBAN(compact) {`, new: `		if true {`,
		packages: []string{"./internal/canonical"},
	},
	{
		name: "gateway-panic-ends-the-program",
		file: "internal/gateway/gateway.go",
		old:  `			if r := recover(); r != nil {`, new: `			if r := any(nil); r != nil {`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "wire-late-departure",
		file: "internal/providers/upstream/transport.go",
		old: `	t.DialContext = punctually(t.DialContext, cfg.Now)
`, new: ``,
		packages: []string{"./internal/providers/upstream"},
	},
	{
		name: "consent-in-capitals-counted-apart",
		file: "internal/canonical/query.go",
		old:  "\t\treturn strings.ToLower(id)\n", new: "\t\treturn strings.Clone(id)\n",
		packages: []string{"./internal/unattended"},
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
		old:  "  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 2 * window))\n", new: ``,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "counter-wait-after-lowered-limit",
		file: "internal/unattended/take.lua",
		old:  `local first = math.max(used - limit, 0)`, new: `local first = 0`,
		packages: []string{"./internal/unattended"},
	},
	{
		name: "gateway-no-needs-redis-at-once",
		file: "internal/gateway/relay.go",
		old:  `	if forget && !end.Stands {`, new: `	if false {`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-no-second-look",
		file: "internal/gateway/accounts.go",
		old:  `	if kept = a.lookup(ctx, older(kept, time.Since(looked))); kept == nil {`, new: `	if kept = older(kept, time.Since(looked)); kept == nil {`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-lease-too-short",
		file: "internal/gateway/relay.go",
		old:  `r.acquire(ctx, r.bank.Timeout+leaseMargin)`, new: `r.acquire(ctx, 500*time.Millisecond)`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-trusts-other-clocks",
		file: "internal/gateway/accounts.go",
		old:  `anew := !a.looked.IsZero() && !kept.FetchedAt.Before(a.looked)`, new: `anew := true`,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "gateway-calls-for-nobody",
		file: "internal/gateway/flight.go",
		old:  "\tif ctx.Err() != nil {\n\t\treturn none", new: "\tif false {\n\t\treturn none",
		packages: []string{"./internal/gateway"},
	},
	{
		name: "serve-does-not-drain",
		file: "cmd/gateway/serve.go",
		old:  `p.gateway.Drain(patient), `, new: ``,
		packages: []string{"./cmd/gateway"},
	},
	{
		name: "soak-refusals-hold-callers-up",
		file: "internal/gateway/load.go",
		old:  `	g.Observer.Refused(ctx, b.ID, load.ASPSP)`, new: `	time.Sleep(5 * time.Second)
	_ = load.ASPSP`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSoak$",
	},
	{
		name: "soak-refusals-are-kept",
		file: "internal/gateway/load.go",
		old: `func (g *Gateway) overloaded(ctx context.Context, b *bank, detail string) *canonical.Error {
`, new: `var refused = make(chan []byte, 1<<20)

func (g *Gateway) overloaded(ctx context.Context, b *bank, detail string) *canonical.Error {
	kept := make([]byte, 32<<10)
	for i := range kept {
		kept[i] = 1
	}
	refused <- kept
`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSoak$",
	},
	{
		name: "drain-takes-no-more-requests",
		file: "cmd/gateway/drain.go",
		old:  `time.After(p.drainFor)`, new: `time.After(0)`,
		packages: []string{"./deploy"},
		run:      "^TestRoll$|^TestDraining$",
	},
	{
		name: "drain-without-a-last-word",
		file: "cmd/gateway/drain.go",
		old:  `if w.leaving.Load() {`, new: `if false {`,
		packages: []string{"./deploy"},
		run:      "^TestRoll$",
	},
	{
		name: "drain-last-word-by-the-request",
		file: "cmd/gateway/drain.go",
		old:  `next.ServeHTTP(lastWord{w, &p.draining}, r)`, new: `next.ServeHTTP(lastWord{w, func() *atomic.Bool {
			then := &atomic.Bool{}
			then.Store(p.draining.Load())
			return then
		}()}, r)`,
		packages: []string{"./deploy"},
		run:      "^TestDraining$",
	},
	{
		name: "drain-admin-first",
		file: "cmd/gateway/serve.go",
		old:  `p.api.Shutdown(patient), p.gateway.Drain(patient), p.admin.Shutdown(patient))`, new: `p.admin.Shutdown(patient), p.api.Shutdown(patient), p.gateway.Drain(patient))`,
		packages: []string{"./deploy"},
		run:      "^TestDraining$",
	},
	{
		name: "closed-until-for-nobody",
		file: "internal/config/unattended.go",
		old:  `if c.Unattended.ClosedUntil.After(policy.ClosedUntil) {`, new: `if false {`,
		packages: []string{"./deploy"},
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
		name: "closed-until-not-used",
		file: "cmd/gateway/serve.go",
		old:  `policies := c.Policies()`, new: `policies := (&config.Config{ASPSPs: c.ASPSPs}).Policies()`,
		packages: []string{"./deploy"},
		run:      "^TestClosedUntil$|^TestRedisLost$",
	},
	{
		name: "format-version-changed",
		file: "internal/store/name.go",
		old:  `const version = "1"`, new: `const version = "2"`,
		packages: []string{"./deploy"},
		run:      "^TestReadsEveryFormat$",
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
		name: "format-members-renamed",
		file: "internal/canonical/account.go",
		old:  "	Nickname       string   // as the account's owner named it", new: "	Nickname       string   `json:\"nick\"`",
		packages: []string{"./deploy"},
		run:      "^TestFormat$",
	},
	{
		name: "format-mark-ignored",
		file: "internal/cache/seal.go",
		old:  ` || value[0] != sealFormat`, new: ``,
		packages: []string{"./internal/cache"},
		run:      "^TestLaterFormatIsAMiss$",
	},
	{
		name: "format-closure-unreadable-is-none",
		file: "internal/unattended/take.lua",
		old:  `tonumber(redis.call('GET', KEYS[2]) or '0'))`, new: `tonumber(redis.call('GET', KEYS[2]) or '0') or 0)`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnreadableCountFailsClosed$",
	},
	{
		name: "breaker-ratio-of-all-calls",
		file: "internal/breaker/breaker.go",
		old:  `judged := n.TotalSuccesses + n.TotalFailures`, new: `judged := n.Requests`,
		packages: []string{"./internal/breaker"},
	},
	{
		name: "mastercard-error-of-another-request",
		file: "internal/providers/mastercard/errors.go",
		old:  `	if foreign(a.Body, q.RequestID) {`, new: `	if false {`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mypos-error-of-another-request",
		file: "internal/providers/mypos/refusal.go",
		old:  `	if failure := stray(q, a); failure != nil {`, new: `	if failure := stray(q, a); failure != nil && a.Status == 200 {`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "counter-not-atomic",
		file: "internal/unattended/unattended.go",
		old: `	ok, state, err := c.step(ctx, call, slot.id, timeout)
`, new: `	ok, state, err := c.step(ctx, call, "", timeout)
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
`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestGivenBackLater$",
	},
	{
		name: "counter-replicas-not-configured",
		file: "cmd/gateway/serve.go",
		old:  `.AwaitReplicas(c.Redis.WaitReplicas)`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestWaitReplicas$",
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
		name: "store-tls-off",
		file: "internal/store/store.go",
		old:  `TLSConfig:             c.TLS.Client(),`, new: ``,
		packages: []string{"./internal/store"},
		run:      "^TestTLS$",
	},
	{
		name: "ready-evicts-unseen",
		file: "internal/store/health.go",
		old:  `h.Policy != "" && h.Policy != NoEviction`, new: `h.Policy == "allkeys-random"`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestReadySaysWhatIsWrongWithRedis$",
	},
	{
		name: "ready-needs-redis",
		file: "cmd/gateway/admin.go",
		old:  `	if p.draining.Load() {`, new: `	if p.draining.Load() || health.State != store.Usable {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestReadySaysWhatIsWrongWithRedis$",
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
		name: "gateway-age-by-its-own-clock",
		file: "internal/gateway/relay.go",
		old:  `		got.value = r.dated(value, lease.At(at))`, new: `		got.value = r.dated(value, g.Now())`,
		packages: []string{"./internal/gateway"},
		run:      "^TestClockOfAGatewayJumps$",
	},
	{
		name: "gateway-balances-not-shared",
		file: "internal/gateway/balances.go",
		old:  `r.flight(), r.shared)`, new: `r.flight(), r.alone)`,
		packages: []string{"./internal/gateway"},
		run:      "^TestBalancesAreSharedAcrossGateways$",
	},
	{
		name: "gateway-balances-of-another-account",
		file: "internal/gateway/flight.go",
		old:  `canonical.FoldID(q.Consent), q.Token.Reveal(), account))`, new: `canonical.FoldID(q.Consent), q.Token.Reveal(), ""))`,
		packages: []string{"./internal/gateway"},
		run:      "^TestBalancesAreSharedAcrossGateways$",
	},
	{
		name: "gateway-late-lease-stays",
		file: "internal/gateway/settle.go",
		old:  `settleTries   = 8`, new: `settleTries   = 1`,
		packages: []string{"./internal/gateway"},
		run:      "^TestLateLeaseIsGivenBack$",
	},
	{
		name: "gateway-hit-asks-twice",
		file: "internal/gateway/accounts.go",
		old: `		go func() {
			defer close(beside)`, new: `		func() {
			defer close(beside)`,
		packages: []string{"./internal/gateway"},
		run:      "^TestHitIsOneRoundTrip$",
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
		old:  `	if replayable(req) {`, new: `	if false {`,
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
		old:  `if !went.connected() && slot.GiveBack(`, new: `if !went.connected() && ctx.Err() == nil && slot.GiveBack(`,
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
		name: "gateway-failure-of-before-shared",
		file: "internal/cache/cache.go",
		old:  ` && !told.Ended.Before(l.given)`, new: ``,
		packages: []string{"./internal/gateway"},
		run:      "^(TestResultOfBeforeIsNotShared|TestOverloadIsNotShared)$",
	},
	{
		name: "gateway-nobody-is-told",
		file: "internal/gateway/relay.go",
		old: `			out.Ended = lease.At(at)
`, new: ``,
		packages: []string{"./internal/gateway"},
	},
	{
		name: "serve-failover-forgets",
		file: "cmd/gateway/serve.go",
		old:  `.AwaitReplicas(c.Redis.WaitReplicas)`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestFailoverForgetsNothing$",
	},
	{
		name: "counter-one-id-for-all",
		file: "internal/unattended/unattended.go",
		old:  `id: uuid.NewString()}`, new: `id: uuid.NewSHA1(uuid.Nil, []byte(slots)).String()}`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestNeverAFifth$",
	},
	{
		name: "counter-closure-never-expires",
		file: "internal/unattended/close.lua",
		old:  `, 'PX', string.format('%.0f', math.max(math.ceil((last - now) / 1000), 1)))`, new: `)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestMemoryOfTheCounter$",
	},
	{
		name: "counter-remembers-consents",
		file: "internal/unattended/unattended.go",
		old:  `	if err := c.say(ctx, unit); err != nil {`, new: `	c.unsaid.keep(unit.slots(), time.Hour)
	if err := c.say(ctx, unit); err != nil {`,
		packages: []string{"./cmd/gateway"},
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
		old:  `if KEYS[3] then redis.call('SET', KEYS[3], '', 'PX', 1000) end`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestWaitsForReplicas$",
	},
	{
		name: "counter-wait-after-a-refusal",
		file: "internal/unattended/unattended.go",
		old: `		left = max(left, state.Wait)
`, new: ``,
		packages: []string{"./internal/unattended"},
		run:      "^TestCloseOfAUsedUpUnit$",
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
		name: "gateway-steps-end-with-the-request",
		file: "internal/gateway/allowance.go",
		old:  `own, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)`, new: `own, cancel := context.WithTimeout(ctx, min(stepTimeout, RedisAllowance))`,
		packages: []string{"./internal/gateway"},
		run:      "^TestSlowRedisServesHits$|^TestCountedListIsKept$",
	},
	{
		name: "gateway-no-cache-takes-what-was-kept",
		file: "internal/gateway/accounts.go",
		old:  `if anew || !a.wants.NoCache && kept.Age < a.lifetime() {`, new: `if anew || kept.Age < a.lifetime() {`,
		packages: []string{"./internal/gateway"},
		run:      "^TestNoCacheIsNeverAnsweredFromTheCache$",
	},
	{
		name: "gateway-takes-what-others-take",
		file: "internal/gateway/accounts.go",
		old:  `func(o cache.Outcome) *cache.Entry { return a.content(o.Entry) }`, new: `func(o cache.Outcome) *cache.Entry { return o.Entry }`,
		packages: []string{"./internal/gateway"},
		run:      "^TestNoCacheIsNeverAnsweredFromTheCache$",
	},
	{
		name: "gateway-pays-twice",
		file: "internal/gateway/accounts.go",
		old:  `a.redis = a.redis.least(fetched.redis)`, new: `_ = led`,
		packages: []string{"./internal/gateway"},
		run:      "^TestSharedCallIsPaidOnce$",
	},
	{
		name: "gateway-gives-a-no-up",
		file: "internal/gateway/settle.go",
		old:  `if err != nil && g.forgets.hire() {`, new: `if err != nil && false {`,
		packages: []string{"./internal/gateway"},
		run:      "^TestDefiniteNoForgetsAtLast$",
	},
	{
		name: "wire-date-by-our-clock",
		file: "internal/providers/upstream/retryafter.go",
		old: `			now = theirs
`, new: `			_ = theirs
`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestRetryAfterAsDate$",
	},
	{
		name: "model-window-halved",
		file: "internal/unattended/take.lua",
		old:  `'(' .. text(now - window)`, new: `'(' .. text(now - window / 2)`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
	},
	{
		name: "model-key-expires-early",
		file: "internal/unattended/take.lua",
		old:  `(2 * window + timeout) / 1000`, new: `(window / 2) / 1000`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
	},
	{
		name: "model-given-back-on-a-timeout",
		file: "internal/providers/upstream/upstream.go",
		old:  `if !went.connected() && slot.GiveBack(`, new: `if (!went.connected() || failure.Kind == canonical.ProviderTimeout) && slot.GiveBack(`,
		packages: []string{"./internal/gateway"},
		run:      "^TestModel$",
	},
	{
		name: "gateway-max-age-not-shared",
		file: "internal/gateway/accounts.go",
		old:  `	if anew || !a.wants`, new: `	if anew && a.wants.NoCache || !a.wants`,
		packages: []string{"./internal/gateway"},
		run:      "^TestEqualRequestsMakeOneCall$",
	},
	{
		name: "gateway-pending-no-ignored",
		file: "internal/gateway/accounts.go",
		old:  `return a.g.forgets.pending(keyOf(a.client, a.q))`, new: `return false`,
		packages: []string{"./internal/gateway"},
		run:      "^TestDefiniteNoForgetsAtLast$",
	},
	{
		name: "gateway-every-no-its-own-retries",
		file: "internal/gateway/settle.go",
		old:  `hired := !f.hired && len(f.keys) > 0`, new: `hired := len(f.keys) > 0`,
		packages: []string{"./internal/gateway"},
		run:      "^TestManyNosWhileRedisIsAway$",
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
		name: "gateway-does-not-wait-for-a-pause",
		file: "internal/gateway/relay.go",
		old: `	if r.counted {
		return &allowance`, new: `	if false {
		return &allowance`,
		packages: []string{"./internal/gateway"},
		run:      "^TestPauseOfRedisSpendsOneSlot$",
	},
	{
		name: "gateway-limit-from-before-the-call",
		file: "internal/gateway/accounts.go",
		old:  `failure == nil && !a.flew`, new: `failure == nil && list.Cache.Hit && !list.Freshness.Stale`,
		packages: []string{"./internal/gateway"},
		run:      "^TestLimitAfterAFailedCall$",
	},
	{
		name: "breaker-trial-by-a-clock-that-is-set",
		file: "internal/breaker/breaker.go",
		old:  `max(min(b.openFor-b.now().Sub(*b.opened.Load()), b.openFor), time.Second)`, new: `max(b.openFor-b.now().Sub(*b.opened.Load()), time.Second)`,
		packages: []string{"./internal/breaker"},
		run:      "^TestClockIsSetBack$",
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
		old:  `context.WithTimeout(ctx, countTimeout)`, new: `context.WithTimeout(ctx, 60*countTimeout)`,
		packages: []string{"./internal/unattended"},
		run:      "^TestUnitsHoldNobodyUp$",
	},
	{
		name: "units-old-numbers-without-redis",
		file: "internal/unattended/units.go",
		old:  `		u.counts = u.ask(ctx)`, new: `		if now := u.ask(ctx); len(now) > 0 {
			u.counts = now
		}`,
		packages: []string{"./cmd/gateway"},
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
		old:  `		s.counter.units.note(s.unit)`, new: `		_ = s.unit`,
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
	{
		name: "units-lost-at-the-end",
		file: "cmd/gateway/serve.go",
		old:  `	p.units.Flush(patient)`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestFleetIsTold$",
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
		name: "reads-attended-counted",
		file: "cmd/gateway/gauges.go",
		old:  `!*o.Attended`, new: `(true || *o.Attended)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestFleetIsTold$",
	},
	{
		name: "reads-refused-need-no-slot",
		file: "cmd/gateway/observe.go",
		old:  `t.Read(ctx, o.ASPSP, o.Slots, o.Refused)`, new: `t.Read(ctx, o.ASPSP, o.Slots, o.Refused && o.Cache == "")`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestFleetIsTold$",
	},
	{
		name: "reads-refused-without-a-counter-need-no-slot",
		file: "internal/api/answer/header.go",
		old:  `return reason == gateway.StaleByLimit || reason == gateway.StaleWithoutCounter`, new: `return reason == gateway.StaleByLimit`,
		packages: []string{"./internal/api"},
		run:      "^TestCacheHeaders$",
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
		name: "certificates-of-the-chain-forgotten",
		file: "internal/providers/upstream/ends.go",
		old:  `(first.IsZero() || c.NotAfter.Before(first))`, new: `first.IsZero()`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCertificatesEnds$",
	},
	{
		name: "certificates-of-the-signing-key-forgotten",
		file: "internal/providers/mastercard/ends.go",
		old:  `		chain = append(chain, own.Raw)`, new: `		_ = own`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCertificatesEnds$",
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
		name: "redis-state-not-told",
		file: "cmd/gateway/admin.go",
		old:  `Usable: now.State == store.Usable, Evicts`, new: `Usable: true, Evicts`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestFleetIsTold$",
	},
	{
		name: "renew-half-written",
		file: "internal/renew/renew.go",
		old:  `if p.seen != p.tried && p.seen == before {`, new: `if p.seen != p.tried && before == before {`,
		packages: []string{"./internal/renew"},
	},
	{
		name: "renew-logged-at-every-look",
		file: "internal/renew/renew.go",
		old:  "	p.tried = p.seen\n", new: "",
		packages: []string{"./internal/renew"},
	},
	{
		name: "renew-changed-while-read",
		file: "internal/renew/renew.go",
		old:  `if standing(p.Files) != p.seen {`, new: `if false {`,
		packages: []string{"./internal/renew"},
	},
	{
		name: "renew-panic-ends-the-gateway",
		file: "internal/renew/renew.go",
		old:  `if r := recover(); r != nil {`, new: `if r := any(nil); r != nil {`,
		packages: []string{"./internal/renew"},
	},
	{
		name: "renew-broken-not-told",
		file: "internal/renew/renew.go",
		old:  `p.stale.Store(err != nil)`, new: `p.stale.Store(false)`,
		packages: []string{"./internal/renew"},
	},
	{
		name: "renew-files-of-the-start",
		file: "internal/config/again.go",
		old:  `again, err := decode(c.file, nil)`, new: `again, err := c, error(nil)`,
		packages: []string{"./internal/config"},
	},
	{
		name: "renew-label-of-anything",
		file: "internal/telemetry/secrets.go",
		old:  `partKey.String(oneOf(t.secrets, part))`, new: `partKey.String(part)`,
		packages: []string{"./internal/telemetry"},
	},
	{
		name: "renew-fault-elsewhere-stops-all",
		file: "cmd/gateway/renew.go",
		old:  `faults = config.Below(faults, path)`, new: `_ = path`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBrokenSecretsStayOut$",
	},
	{
		name: "renew-broken-taken-over",
		file: "cmd/gateway/renew.go",
		old:  "	if len(faults) > 0 {\n		return faults\n	}\n	return take(now)", new: "	return take(now)",
		packages: []string{"./cmd/gateway"},
		run:      "^TestBrokenSecretsStayOut$",
	},
	{
		name: "renew-not-in-readyz",
		file: "cmd/gateway/admin.go",
		old:  `slices.Concat(warnings(health), p.staleSecrets(), p.auditWarnings())`, new: `slices.Concat(warnings(health), p.auditWarnings())`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBrokenSecretsStayOut$",
	},
	{
		name: "renew-adapter-not-swapped",
		file: "cmd/gateway/renew.go",
		old:  `r.swap(next)`, new: `_ = next`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSecretsAreRenewedWhileRequestsGoOn$",
	},
	{
		name: "renew-cache-keys-not-swapped",
		file: "internal/cache/cache.go",
		old: `if err == nil {
		c.seal.Store(&seal)`, new: `if err == nil && c.seal.Load() == nil {
		c.seal.Store(&seal)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSecretsAreRenewedWhileRequestsGoOn$",
	},
	{
		name: "renew-cache-second-key-dropped",
		file: "internal/cache/cache.go",
		old:  `seal, err := newSealer(keys)`, new: `seal, err := newSealer(keys[:min(1, len(keys))])`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSecretsAreRenewedWhileRequestsGoOn$",
	},
	{
		name: "renew-old-connections-kept",
		file: "cmd/gateway/renew.go",
		old:  `r.now.Swap(&next).wire.CloseIdle()`, new: `r.now.Store(&next)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestClientCertificateIsRenewed$",
	},
	{
		name: "renew-api-keys-not-taken",
		file: "cmd/gateway/renew.go",
		old:  `p.secrets.setKeys(now.Clients.APIKeys)`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAPIKeysAreRenewed$",
	},
	{
		name: "renew-api-keys-of-a-faulty-file",
		file: "cmd/gateway/renew.go",
		old:  `faults = config.OfText(faults)`, new: `faults = nil`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBrokenSecretsStayOut$",
	},
	{
		name: "renew-revocation-waits-for-secrets",
		file: "cmd/gateway/renew.go",
		old:  `faults = config.OfText(faults)`, new: `_ = now`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestAPIKeysAreRenewed$",
	},
	{
		name: "tls-callers-not-verified",
		file: "internal/config/server.go",
		old:  `c.ClientAuth = tls.RequireAndVerifyClientCert`, new: `c.ClientAuth = tls.RequireAnyClientCert`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestMutualTLS$",
	},
	{
		name: "tls-callers-optional",
		file: "internal/config/server.go",
		old:  `c.ClientAuth = tls.RequireAndVerifyClientCert`, new: `c.ClientAuth = tls.VerifyClientCertIfGiven`,
		packages: []string{"./cmd/gateway"},
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
		name: "tls-certificate-of-the-start",
		file: "cmd/gateway/tls.go",
		old:  `return s.now.Load(), nil`, new: `return first, nil`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestMutualTLS$",
	},
	{
		name: "tls-old-connections-go-on",
		file: "cmd/gateway/tls.go",
		old:  `if r.Context().Value(handshake{}) != s.now.Load() {`, new: `if false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestMutualTLS$",
	},
	{
		name: "load-client-starved-by-one-bank",
		file: "internal/gateway/gateway.go",
		old:  `load.NewOwned(c.PerClient, 4)`, new: `load.NewOwned(0, 4)`,
		packages: []string{"./internal/gateway"},
		run:      "^TestSlowBankLeavesAClientPlaces$",
	},
	{
		name: "serve-idle-connections-kept",
		file: "cmd/gateway/idle.go",
		old:  `if len(i.kept) >= i.most {`, new: `if false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestIdleConnectionsLockNobodyOut$",
	},
	{
		name: "callers-all-wait-for-keys",
		file: "internal/callers/keyset.go",
		old:  `if s.waiting >= mostWaiting {`, new: `if false {`,
		packages: []string{"./internal/callers"},
		run:      "^TestFewWaitForKeys$",
	},
	{
		name: "renew-nobody-may-call",
		file: "cmd/gateway/renew.go",
		old:  `len(now.Clients.APIKeys) == 0 && len(c.Clients.OIDC) == 0`, new: `false`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestKeysAreNotAllTakenAway$",
	},
	{
		name: "store-scripts-after-a-restart",
		file: "internal/store/again.go",
		old:  `return redis.HasErrorPrefix(err, "NOSCRIPT")`, new: `return false`,
		packages: []string{"./internal/store"},
		run:      "^TestDeadConnectionsCostNothing$",
	},
	{
		name: "callers-audience-ignored",
		file: "internal/callers/issuer.go",
		old:  `return slices.Contains(i.Audiences, a) }`, new: `return a != "" }`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-expired-accepted",
		file: "internal/callers/issuer.go",
		old:  `!now.Before(said.expires.Add(i.ClockSkew))`, new: `false`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-expiry-not-demanded",
		file: "internal/callers/issuer.go",
		old:  `said.expires.IsZero() || !now.Before(`, new: `!said.expires.IsZero() && !now.Before(`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-nbf-ignored",
		file: "internal/callers/issuer.go",
		old:  `now.Add(i.ClockSkew).Before(said.notBefore) || `, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-iat-ignored",
		file: "internal/callers/issuer.go",
		old:  ` || now.Add(i.ClockSkew).Before(said.issued)`, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-signature-unverified",
		file: "internal/callers/issuer.go",
		old:  `	if !slices.ContainsFunc(found, verifies) {`, new: `	s.payload = jws.UnsafePayloadWithoutVerification()
	if false && !slices.ContainsFunc(found, verifies) {`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-any-algorithm",
		file: "internal/callers/issuer.go",
		old:  `	keys := &keySet{fetch`, new: `	o.Algorithms = config.Algorithms()
	keys := &keySet{fetch`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-key-for-another-algorithm",
		file: "internal/callers/issuer.go",
		old:  `k.Algorithm != "" && k.Algorithm != header.Algorithm`, new: `false`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-name-is-the-id",
		file: "internal/callers/issuer.go",
		old:  `config.IssuedPrefix + strconv.Quote(i.Issuer) + said.claim + strconv.Quote(said.name)`, new: `said.name + strconv.Quote("")[1:1]`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-issuers-share-clients",
		file: "internal/callers/issuer.go",
		old:  `strconv.Quote(i.Issuer) + said.claim`, new: `said.claim`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-claim-not-in-the-id",
		file: "internal/callers/issuer.go",
		old:  `strconv.Quote(i.Issuer) + said.claim + strconv`, new: `strconv.Quote(i.Issuer) + strconv`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-grant-beside-scopes",
		file: "internal/callers/issuer.go",
		old:  `if !said.scoped {`, new: `if true {`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-token-as-a-key",
		file: "internal/callers/callers.go",
		old:  `	if shown.Bearer {`, new: `	if shown.Bearer || true {`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-empty-key-accepted",
		file: "internal/callers/key.go",
		old:  `text == "" || `, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-old-keys-stay",
		file: "internal/callers/key.go",
		old:  `	c.keys.Store(&keys)`, new: `	if c.keys.Load() != nil {
		keys = append(keys, *c.keys.Load()...)
	}
	c.keys.Store(&keys)`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-address-in-the-log",
		file: "internal/callers/token.go",
		old:  `"._:/-"`, new: `"._:/-@"`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-claim-twice",
		file: "internal/callers/token.go",
		old:  `_, twice := all[name.(string)]; twice {`, new: `_, twice := all[name.(string)]; twice && false {`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-large-token",
		file: "internal/callers/token.go",
		old:  `len(token) > maxToken || `, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-forged-keys-hammer",
		file: "internal/callers/keyset.go",
		old:  `now.Sub(s.tried) >= pause`, new: `now.Sub(s.tried) >= 0`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-no-shared-reading",
		file: "internal/callers/keyset.go",
		old:  `s.reading == nil && (s.tried`, new: `(s.tried`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-keys-lost-with-the-issuer",
		file: "internal/callers/keyset.go",
		old:  `	if s.failing = err != nil; !s.failing {`, new: `	if s.failing = err != nil; true {`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-keys-never-old",
		file: "internal/callers/keyset.go",
		old:  `look{s.keys, s.now().Sub(s.read) >= maxAge,`, new: `look{s.keys, false,`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-known-key-waits",
		file: "internal/callers/keyset.go",
		old:  `(len(found) == 0 || !known.failing)`, new: `true`,
		packages: []string{"./internal/callers"},
		run:      "^TestPatience$",
	},
	{
		name: "callers-endless-patience",
		file: "internal/callers/issuer.go",
		old:  `return &issuer{o, keys, now, patience}`, new: `return &issuer{o, keys, now, 10 * patience}`,
		packages: []string{"./internal/callers"},
		run:      "^TestPatience$",
	},
	{
		name: "callers-issuer-down-is-the-callers-fault",
		file: "internal/callers/issuer.go",
		old:  `	case errors.Is(signed.err, errNoKeys):`, new: `	case errors.Is(signed.err, errNoKeys) && false:`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-redirect-followed",
		file: "internal/callers/source.go",
		old: `		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
`, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-proxy-asked",
		file: "internal/callers/source.go",
		old: `			next: &http.Transport{
`, new: `			next: &http.Transport{
				Proxy: http.ProxyFromEnvironment,
`,
		packages: []string{"./internal/callers"},
		run:      "^TestIssuerNeverThroughProxy$",
	},
	{
		name: "callers-huge-document-read",
		file: "internal/callers/source.go",
		old:  `		resp.Body = http.MaxBytesReader(nil, resp.Body, maxDocument)`, new: `		_ = maxDocument`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-many-keys-taken",
		file: "internal/callers/source.go",
		old:  `len(keys) > maxKeys`, new: `false`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-short-key-taken",
		file: "internal/callers/source.go",
		old:  `public.N.BitLen() >= minBits && `, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-encryption-key-taken",
		file: "internal/callers/source.go",
		old:  `k.Use != "" && k.Use != "sig"`, new: `false`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-keys-without-tls",
		file: "internal/callers/source.go",
		old:  `!config.Loopback(u.Hostname()) || !strings`, new: `!strings`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-own-token-to-anybody",
		file: "internal/callers/source.go",
		old:  `c.token != "" && slices.Contains(c.hosts, origin(r.URL.String()))`, new: `c.token != ""`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-limit-shared",
		file: "internal/callers/limit.go",
		old: `b.all[id]
`, new: `b.all[id[:0]]
`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-refusal-takes-a-token",
		file: "internal/callers/limit.go",
		old:  `		taken.CancelAt(now)`, new: `		_ = taken`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-busy-client-forgotten",
		file: "internal/callers/limit.go",
		old:  `bucket.TokensAt(now) >= float64(bucket.Burst())`, new: `bucket != nil`,
		packages: []string{"./internal/callers"},
	},
	{
		name: "callers-idle-clients-kept",
		file: "internal/callers/limit.go",
		old: `	b.sweep(now)
`, new: ``,
		packages: []string{"./internal/callers"},
	},
	{
		name: "api-client-is-its-name",
		file: "internal/api/request.go",
		old:  `r.client, x.Client = who.ID, who.Name`, new: `r.client, x.Client = who.Name, who.Name`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-id-in-the-log",
		file: "internal/api/request.go",
		old:  `r.client, x.Client = who.ID, who.Name`, new: `r.client, x.Client = who.ID, who.ID`,
		packages: []string{"./internal/api"},
	},
	{
		name: "api-rate-limit-ignored",
		file: "internal/api/request.go",
		old:  `		if err := s.Callers.Admit(who); err != nil {`, new: `		if err := s.Callers.Admit(who); err != nil && false {`,
		packages: []string{"./internal/api"},
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
		name: "clients-share-flights",
		file: "internal/gateway/flight.go",
		old:  `what, client, q.ASPSP,`, new: `what, client[:0], q.ASPSP,`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestClientsShareNoCall$",
	},
	{
		name: "clients-share-lists",
		file: "internal/cache/cache.go",
		old:  `store.Prefix("accounts", k.Client, k.ASPSP, k.Consent)`, new: `store.Prefix("accounts", k.ASPSP, k.Consent)`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestClientsAreApart$",
	},
	{
		name: "clients-of-one-name-are-one",
		file: "internal/callers/issuer.go",
		old:  `config.IssuedPrefix + strconv.Quote(i.Issuer) + said.claim + strconv.Quote(said.name)`, new: `said.name + strconv.Quote("")[1:1]`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestClientsAreApart$",
	},
	{
		name: "load-bound-off",
		file: "internal/load/load.go",
		old:  `if b.most > 0 && b.in >= b.most {`, new: `if false {`,
		packages: []string{"./internal/load"},
		run:      "^TestBound$",
	},
	{
		name: "load-keys-unbounded",
		file: "internal/load/load.go",
		old:  `if k.most > 0 && k.in[key] >= k.most {`, new: `if false {`,
		packages: []string{"./internal/load"},
		run:      "^TestKeyed$",
	},
	{
		name: "load-one-takes-all",
		file: "internal/load/load.go",
		old:  `s.of[key] >= s.times*(s.most-s.in)`, new: `s.in >= s.most`,
		packages: []string{"./internal/load"},
		run:      "^TestShares$",
	},
	{
		name: "load-idle-keys-kept",
		file: "internal/load/load.go",
		old: `		delete(in, key)
`, new: ``,
		packages: []string{"./internal/load"},
		run:      "^TestNothingStays$",
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
	{
		name: "overload-bank-unbounded",
		file: "internal/gateway/gateway.go",
		old:  `if !g.calls.Enter(b.ID) {`, new: `if g.calls.Enter(b.ID); false {`,
		packages: []string{"./internal/gateway"},
		run:      "^TestBulkhead$",
	},
	{
		name: "overload-blamed-on-the-bank",
		file: "internal/gateway/load.go",
		old:  `Kind: canonical.Overloaded`, new: `Kind: canonical.ProviderUnavailable`,
		packages: []string{"./internal/gateway"},
		run:      "^TestBulkhead$",
	},
	{
		name: "overload-bank-place-lost",
		file: "internal/gateway/gateway.go",
		old: `	defer g.calls.Leave(b.ID)
`, new: ``,
		packages: []string{"./internal/gateway"},
		run:      "^TestPlaceLastsAsLongAsItsCall$",
	},
	{
		name: "overload-waits-unbounded",
		file: "internal/gateway/load.go",
		old:  `if !g.waits.Enter(b.ID) {`, new: `if g.waits.Enter(b.ID); false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSlowBankDoesNotTakeEveryPlace$",
	},
	{
		name: "serve-banks-unbounded",
		file: "cmd/gateway/serve.go",
		old:  `PerASPSP: c.Server.Limits.PerASPSP,`, new: `PerASPSP: 0,`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSlowBank$",
	},
	{
		name: "serve-clients-unbounded",
		file: "cmd/gateway/serve.go",
		old:  `InFlight: c.Server.Limits.InFlight, PerClient: c.Server.Limits.PerClient,`, new: `InFlight: c.Server.Limits.InFlight, PerClient: 0,`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestClientDoesNotTakeEveryPlace$",
	},
	{
		name: "serve-connections-unbounded",
		file: "cmd/gateway/serve.go",
		old:  `	p.listen[0] = netutil.LimitListener(`, new: `	_ = netutil.LimitListener(`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestConnectionsAreBounded$",
	},
	{
		name: "serve-waits-for-readers",
		file: "cmd/gateway/serve.go",
		old:  ` WriteTimeout: p.patience,`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCallersWhoDoNotRead$",
	},
	{
		name: "serve-waits-for-bodies",
		file: "cmd/gateway/serve.go",
		old:  ` ReadTimeout: readTimeout,`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestCallersWhoNeverEnd$",
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
		name: "proxy-although-none",
		file: "cmd/gateway/proxy.go",
		old:  `if p.Proxy != config.EnvironmentProxy {`, new: `if false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestProxyAndCA$",
	},
	{
		name: "proxy-unusable-passed-over",
		file: "cmd/gateway/proxy.go",
		old:  `proxy == nil || proxy.Scheme != "http"`, new: `proxy == nil && false`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestProxyThatCannotBeUsed$",
	},
	{
		name: "provider-ca-ignored",
		file: "cmd/gateway/config.go",
		old:  `Roots: common.Roots()`, new: `Roots: nil`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestProxyAndCA$",
	},
	{
		name: "provider-ca-unchecked",
		file: "internal/config/way.go",
		old:  ` || p.Roots() != nil`, new: ` || true`,
		packages: []string{"./internal/config"},
		run:      "^TestOneFault$",
	},
	{
		name: "networks-given-back-after-sending",
		file: "internal/providers/upstream/upstream.go",
		old:  `if !went.connected() && slot.GiveBack(`, new: `if (!went.connected() || failure != nil) && slot.GiveBack(`,
		packages: []string{"./cmd/gateway"},
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
		name: "json-names-unbounded",
		file: "internal/providers/upstream/shape.go",
		old:  `if len(literal) > maxName+2 {`, new: `if len(literal) > 1<<30 {`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestDecode$",
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
		old:  `!strings.EqualFold(coding, "identity")`, new: `coding == "x"`,
		packages: []string{"./internal/providers/upstream"},
		run:      "^TestBadAnswers$",
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
		name: "mypos-pages-unbounded",
		file: "internal/providers/mypos/pages.go",
		old:  `l.bytes > maxBytes`, new: `l.bytes < 0`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestPagesAreBoundedTogether$",
	},
	{
		name: "mypos-errors-read-to-the-end",
		file: "internal/providers/mypos/refusal.go",
		old:  `min(len(messages), maxMessages)`, new: `len(messages)`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestEndlessRefusals",
	},
	{
		name: "mastercard-errors-read-to-the-end",
		file: "internal/providers/mastercard/errors.go",
		old:  `min(len(s), maxSaid)`, new: `len(s)`,
		packages: []string{"./internal/providers/mastercard"},
		run:      "^TestEndlessErrors",
	},
	{
		name: "library-quotes-providers",
		file: "cmd/gateway/main.go",
		old: `	mute()
`, new: ``,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBadAnswers$",
	},
	{
		name: "bad-answer-kept",
		file: "internal/providers/mypos/mypos.go",
		old:  `	if failure := stray(q, answer); failure != nil {`, new: `	if failure := stray(q, answer); failure != nil && false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBadAnswers$",
	},
	{
		name: "sandbox-redis-ignored",
		file: "cmd/gateway/sandbox.go",
		old:  `fmt.Sprintf("{mode: standalone, addresses: [%q]}", *redis)`, new: `""`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSandboxElsewhere$",
	},
	{
		name: "sandbox-admin-address-ignored",
		file: "internal/sandbox/sandbox.go",
		old:  `	if admin == "" {`, new: `	{`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSandboxElsewhere$",
	},
	{
		name: "sandbox-guides-to-no-destination",
		file: "cmd/gateway/sandbox.go",
		old:  `!at.Addr().IsUnspecified()`, new: `true`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestSandboxElsewhere$",
	},
	{
		name: "metric-renamed-under-boards",
		file: "internal/telemetry/metrics.go",
		old:  `"ais.cache.results"`, new: `"ais.cache.outcomes"`,
		packages: []string{"./deploy"},
		run:      "^TestBoardsHaveData$",
	},
	{
		name: "closure-not-told",
		file: "internal/providers/upstream/upstream.go",
		old:  `		c.wire.Observer.Slot(ctx, q.ASPSP, SlotClosed)`, new: ``,
		packages: []string{"./deploy"},
		run:      "^TestBoardsHaveData$",
	},
	{
		name: "code-that-counts-nowhere",
		file: "internal/canonical/error.go",
		old:  `Kind = "COUNTER_UNAVAILABLE"`, new: `Kind = "COUNTER_GONE"`,
		packages: []string{"./deploy"},
		run:      "^TestCodesCount$",
	},
}
