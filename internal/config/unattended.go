package config

import "time"

// AllUnattended is what holds for calls without the user to whatever ASPSP.
type GlobalUnattended struct {
	// ClosedUntil is before when none is made: what was counted is not known, say, since Redis lost it. Zero for no such time.
	ClosedUntil time.Time `yaml:"closedUntil"`
}

// Policies are the ASPSPs' policies by id, as they take effect: of two times until which an ASPSP is closed, the later holds.
func (c *Config) Policies() map[string]Unattended {
	all := map[string]Unattended{}
	for _, a := range c.ASPSPs {
		policy := a.Unattended
		if c.Unattended.ClosedUntil.After(policy.ClosedUntil) {
			policy.ClosedUntil = c.Unattended.ClosedUntil
		}
		all[a.ID] = policy
	}
	return all
}
