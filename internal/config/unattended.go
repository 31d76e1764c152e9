package config

import "time"

// GlobalUnattended is the policy for unattended calls to all ASPSPs.
type GlobalUnattended struct {
	// ClosedUntil is the time before which no unattended calls are made, for example because Redis
	// lost its slots. Zero for no restriction.
	ClosedUntil time.Time `yaml:"closedUntil"`
}

// Policies returns the effective policies of the ASPSPs by id, with the later of the global
// ClosedUntil and their own.
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
