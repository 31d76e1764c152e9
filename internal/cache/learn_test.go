package cache_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/cache"
	"ais-gateway/internal/canonical"
)

// TestLearn: a refusal by the ASPSP of an unattended read is remembered for the consent or the
// account that it concerns, and the number of a list's pages if it differs from what is known.
func TestLearn(t *testing.T) {
	t.Parallel()
	unattended := canonical.Query{ASPSP: "a", Consent: "consent", Token: "token"}
	attended := unattended
	attended.PSU = &canonical.PSU{IP: netip.MustParseAddr("203.0.113.7")}
	failed := func(k canonical.Kind) *canonical.Error {
		return &canonical.Error{Kind: k, Origin: canonical.OriginASPSP}
	}
	rejectedToken, ofPages := failed(canonical.ConsentInvalid), canonical.NewError(canonical.UnattendedLimit, "")
	rejectedToken.TokenRejected, ofPages.Slots = true, &canonical.SlotNeed{Needed: 5, Remaining: 2}
	consent, account := cache.Subject(unattended, ""), cache.Subject(unattended, "1")
	for _, tt := range []struct {
		name    string
		q       canonical.Query
		account string
		known   int // pages
		calls   int
		failure *canonical.Error
		want    cache.Learned
	}{
		{"a list", unattended, "", 0, 1, nil, cache.Learned{}},
		{"a list with the user", attended, "", 0, 1, nil, cache.Learned{Accepted: true}},
		{"a list of three pages", attended, "", 0, 3, nil, cache.Learned{Accepted: true, Pages: 3}},
		{"as many pages as before", unattended, "", 3, 3, nil, cache.Learned{}},
		{"fewer pages than before", unattended, "", 3, 1, nil, cache.Learned{Pages: 1}},
		{"calls that were not counted", unattended, "", 3, 0, nil, cache.Learned{}},
		{"balances", unattended, "1", 3, 1, nil, cache.Learned{}},
		{"too many pages", unattended, "", 0, 1, ofPages, cache.Learned{Pages: 5}},
		{"a consent", unattended, "", 0, 1, failed(canonical.ConsentExpired), cache.Learned{Subject: consent, RefusedWith: canonical.ConsentExpired, Pages: -1}},
		{"a consent, by balances", unattended, "1", 0, 1, failed(canonical.ConsentInvalid), cache.Learned{Subject: consent, RefusedWith: canonical.ConsentInvalid, Pages: -1}},
		{"a token", unattended, "1", 0, 1, rejectedToken, cache.Learned{Subject: consent, RefusedWith: canonical.ConsentInvalid}},
		{"an account", unattended, "1", 0, 1, failed(canonical.AccountUnknown), cache.Learned{Subject: account, RefusedWith: canonical.AccountUnknown}},
		{"a consent, with the user", attended, "", 0, 1, failed(canonical.ConsentInvalid), cache.Learned{Pages: -1}},
		{"an account, with the user", attended, "1", 0, 1, failed(canonical.AccountUnknown), cache.Learned{}},
		{"a failure", unattended, "", 0, 1, failed(canonical.ProviderError), cache.Learned{}},
		{"a remembered refusal", unattended, "", 0, 0, canonical.NewError(canonical.ConsentInvalid, ""), cache.Learned{}},
	} {
		got := cache.Memory{Pages: tt.known}.Learn(tt.q, tt.account, tt.calls, tt.failure)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestSubject: subjects differ if consent, token or account do. All have the length of a hash.
func TestSubject(t *testing.T) {
	t.Parallel()
	q := canonical.Query{Consent: "consent", Token: "token"}
	all := map[string]bool{}
	for _, consent := range []string{"consent", "another", `consent" "`} {
		for _, token := range []canonical.Secret{"token", "another", ""} {
			for _, account := range []string{"", "1", `1" "`} {
				q.Consent, q.Token = consent, token
				all[cache.Subject(q, account)] = true
			}
		}
	}
	if len(all) != 27 {
		t.Errorf("%d subjects, want 27", len(all))
	}
	for subject := range all {
		if len(subject) != 43 {
			t.Errorf("%q has %d characters, want 43", subject, len(subject))
		}
	}
}
