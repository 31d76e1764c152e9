package main

// adaptersFaults are those of internal/providers, the wire apart.
var adaptersFaults = []fault{
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
		old:  `case echo != nil && !upstream.SameRequest(string(echo.RequestID), requestID):`, new: `case false:`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-foreign-account-accepted",
		file: "internal/providers/mastercard/wire.go",
		old:  `id != "" && string(id) != accountID {`, new: `id == "" && accountID == "" {`,
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
		name: "mastercard-missing-address-is-ours",
		file: "internal/providers/mastercard/errors.go",
		old: `	{reason: "FORMAT_ERROR", address: true, kind: canonical.UnattendedLimit},
`, new: ``,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-null-is-an-empty-list",
		file: "internal/providers/mastercard/wire.go",
		old:  `		return errNull`, new: `		return nil`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "blank-texts-shown",
		file: "internal/providers/upstream/members.go",
		old:  `	if strings.TrimSpace(string(t)) == "" {`, new: `	if t == "" {`,
		packages: []string{"./internal/providers/mastercard", "./internal/providers/mypos"},
	},
	{
		name: "mastercard-padded-reason-not-trimmed",
		file: "internal/providers/mastercard/errors.go",
		old:  `s := said{reason: fold(string(e.ReasonCode)), gateway`, new: `s := said{reason: strings.ToLower(string(e.ReasonCode)), gateway`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-balance-dropped",
		file: "internal/providers/mastercard/wire.go",
		old:  `for _, wb := range list(holdings.Balances) {`, new: `for _, wb := range list(holdings.Balances)[min(1, len(list(holdings.Balances))):] {`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-empty-errors-refused",
		file: "internal/providers/mastercard/wire.go",
		old:  `case !upstream.Empty(errs):`, new: `case len(errs) > 0 && string(errs) != "null":`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-error-beside-data-accepted",
		file: "internal/providers/mastercard/wire.go",
		old:  `case !upstream.Empty(errs):`, new: `case false:`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-card-number-as-id",
		file: "internal/providers/mastercard/wire.go",
		old:  `case card && canonical.IsCardID(id):`, new: `case false:`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mastercard-accounts-of-one-id-merged",
		file: "internal/providers/upstream/accounts.go",
		old:  `case !reflect.DeepEqual(a.List[before.place], account), !sameNumber(before.number, number):`, new: `case reflect.DeepEqual(a.List, nil), !sameNumber(before.number, number):`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "masked-cards-of-one-id-merged",
		file: "internal/providers/upstream/accounts.go",
		old:  `, !sameNumber(before.number, number):`, new: `:`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mypos-overlapping-pages-read-on",
		file: "internal/providers/mypos/pages.go",
		old:  `case l.overlap:`, new: `case false:`,
		packages: []string{"./internal/providers/mypos"},
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
		old:  `canonical.ParseAmount(string(b.Amount), string(b.Currency))`, new: `canonical.ParseAmount(func() string { var f float64; _ = json.Unmarshal([]byte(b.Amount), &f); t, _ := json.Marshal(f); return string(t) }(), string(b.Currency))`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-401-is-ours",
		file: "internal/providers/mypos/refusal.go",
		old:  `	case status == http.StatusUnauthorized:`, new: `	case false && status == http.StatusUnauthorized:`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "mypos-quota-is-throttling",
		file: "internal/providers/mypos/refusal.go",
		old:  `return limit != upstream.NoLimit && limit != upstream.RateLimit`, new: `return limit == "-"`,
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
		name: "mastercard-error-of-another-request",
		file: "internal/providers/mastercard/errors.go",
		old:  `	if foreign(a.Body, q.RequestID) {`, new: `	if false {`,
		packages: []string{"./internal/providers/mastercard"},
	},
	{
		name: "mypos-error-beside-data-accepted",
		file: "internal/providers/mypos/wire.go",
		old:  `return !upstream.Empty(raw) && !m.isWarning()`, new: `return false && m.isWarning()`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestSuccessAndErrorAtOnce$",
	},
	{
		name: "mypos-path-of-the-account-read-as-code",
		file: "internal/providers/mypos/refusal.go",
		old:  `!wording.OwnEnd(text, end)`, new: `!wording.Own(end)`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestOwnTextSaysNothing$",
	},
	{
		name: "mypos-error-of-another-request",
		file: "internal/providers/mypos/refusal.go",
		old:  `	if failure := stray(q, a); failure != nil {`, new: `	if failure := stray(q, a); failure != nil && a.Status == 200 {`,
		packages: []string{"./internal/providers/mypos"},
	},
	{
		name: "certificates-of-the-signing-key-forgotten",
		file: "internal/providers/mastercard/ends.go",
		old:  `		chain = append(chain, own.Raw)`, new: `		_ = own`,
		packages: []string{"./test/gateway"},
		run:      "^TestCertificatesEnds$",
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
		old:  `len(texts) == maxTexts`, new: `len(texts) == maxTokens`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestEndlessRefusals",
	},
	{
		name: "mypos-token-taken-for-the-consent",
		file: "internal/providers/mypos/refusal.go",
		old:  `e.TokenRejected = token`, new: `_ = token`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestTokenAndConsentAreToldApart$",
	},
	{
		name: "mypos-lost-route-blames-the-account",
		file: "internal/providers/mypos/refusal.go",
		old:  `return s.api && !upstream.AnyOf(routeWords, found)`, new: `return true || found == nil`,
		packages: []string{"./internal/providers/mypos"},
		run:      "^TestLostRoutes$",
	},
	{
		name: "mastercard-errors-read-to-the-end",
		file: "internal/providers/mastercard/errors.go",
		old:  `min(len(s), maxSaid)`, new: `len(s)`,
		packages: []string{"./internal/providers/mastercard"},
		run:      "^TestEndlessErrors",
	},
	{
		name: "bad-answer-kept",
		file: "internal/providers/mypos/mypos.go",
		old:  `	if failure := stray(q, answer); failure != nil {`, new: `	if failure := stray(q, answer); failure != nil && false {`,
		packages: []string{"./cmd/gateway"},
		run:      "^TestBadAnswers$",
	},
}
