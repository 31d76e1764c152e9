package config_test

import (
	"testing"
	"time"
)

// The later closedUntil applies: the global one or that of the ASPSP. A time in the past is not a
// fault.
func TestPolicies(t *testing.T) {
	t.Parallel()
	early, late := "2026-11-20T10:00:00Z", "2026-11-21T10:00:00+02:00"
	for _, tt := range []struct{ name, all, own, want string }{
		{"not set", "", "", ""},
		{"only global", late, "", late},
		{"only of the ASPSP", "", late, late},
		{"global later", late, early, late},
		{"of the ASPSP later", early, late, late},
		{"in the past", "2001-01-01T00:00:00Z", "", "2001-01-01T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := minimal
			if tt.own != "" {
				text += "    unattended: {limit: 3, closedUntil: " + tt.own + "}\n"
			}
			if tt.all != "" {
				text += "unattended: {closedUntil: " + tt.all + "}\n"
			}
			c := mustRead(t, text)
			policy := c.Policies()[c.ASPSPs[0].ID]
			want, _ := time.Parse(time.RFC3339, tt.want)
			if !policy.ClosedUntil.Equal(want) {
				t.Errorf("closed until %v", policy.ClosedUntil)
			}
			if own := c.ASPSPs[0].Unattended; policy.Limit != own.Limit || policy.Window != own.Window || policy.Unit != own.Unit {
				t.Errorf("%+v is not %+v", policy, own)
			}
			if again := roundTrip(t, c); !again.Unattended.ClosedUntil.Equal(c.Unattended.ClosedUntil) {
				t.Error("it is printed differently")
			}
		})
	}
}

// An ASPSP that is never called without the user has a limit of 0, whatever the file has. The
// limit that is not used is no risk.
func TestPSUAddressRequired(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		keys string
		want int
	}{
		{"psuAddressRequired: true", 0},
		{"psuAddressRequired: true\n    unattended: {limit: 8}", 0},
		{"psuAddressRequired: true\n    unattended: {limit: 0}", 0},
		{"psuAddressRequired: false", 4},
		{"psuAddressRequired: false\n    unattended: {limit: 2}", 2},
	} {
		c := mustRead(t, minimal+"    "+tt.keys+"\n")
		a := c.ASPSPs[0]
		if policy := c.Policies()[a.ID]; a.Unattended.Limit != tt.want || policy.Limit != tt.want {
			t.Errorf("%s: limit %d, in the policy %d, want %d", tt.keys, a.Unattended.Limit, policy.Limit, tt.want)
		}
		if w := c.Warnings(); w != nil {
			t.Errorf("%s: %v", tt.keys, w)
		}
		if again := roundTrip(t, c).ASPSPs[0]; again.PSUAddressRequired != a.PSUAddressRequired {
			t.Errorf("%s: printed differently", tt.keys)
		}
	}
}
