package unattended

import (
	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/store"
	"ais-gateway/internal/unattended/unitstats"
)

// A counterKey identifies a unit by the common prefix of its Redis keys.
type counterKey struct{ aspsp, prefix string }

func (c *Counter) key(call Call) counterKey {
	owner := []string{call.ASPSP}
	switch c.policies[call.ASPSP].Unit {
	case config.UnitASPSP:
	case config.UnitConsent:
		owner = append(owner, canonical.CountedID(call.Consent))
	case config.UnitResource:
		owner = append(owner, canonical.CountedID(call.Consent))
		if call.AllBalances {
			owner = append(owner, "balances")
		} else {
			owner = append(owner, "account", canonical.CountedID(call.Account))
		}
	}
	return counterKey{aspsp: call.ASPSP, prefix: store.Prefix("unattended", owner...)}
}

// unit returns the unit's name in statistics.
func (k counterKey) unit() unitstats.Unit { return unitstats.NewUnit(k.aspsp, k.prefix) }

// slots returns the name of the sorted set of the unit's slots.
func (k counterKey) slots() string { return k.prefix + "slots" }

// block returns the name of the key of the unit's block.
func (k counterKey) block() string { return k.prefix + "closed" }

// withSlots is all, and the names of the keys that mark these slots as released.
func (k counterKey) withSlots(ids []string) []string {
	names := append(make([]string, 0, 3+len(ids)), k.all()...)
	for _, id := range ids {
		names = append(names, k.prefix+"released:"+id)
	}
	return names
}

// all returns the names of the unit's keys, without those of its released slots, in the order that
// usage.lua describes.
func (k counterKey) all() []string { return []string{k.slots(), k.block(), k.prefix + "looked"} }
