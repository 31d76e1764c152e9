package breaker

import (
	"hash/maphash"
	"maps"
	"time"

	"ais-gateway/internal/canonical"
)

const (
	// consentsNeeded is how many consents must fail with a response before the ASPSP is taken to fail.
	consentsNeeded = 3
	// maxConsents bounds the consents that are remembered: 4,096 take some 200 KiB.
	maxConsents = 4096
	// maxSucceeded bounds the consents that are remembered for their success.
	maxSucceeded = 16
)

// A consentID stands for a consent: a hash under a seed of this process.
type consentID uint64

// consents remembers which consents failed and which succeeded within an interval. It holds hashes only.
type consents struct {
	interval time.Duration
	seed     maphash.Seed
	failed   map[consentID]time.Time // when a failure with a response was counted last
	// succeeded are the consents whose last outcome is a success, the latest first: more than the failing ones that are not
	// enough, so that another consent is among them if one succeeded.
	succeeded [maxSucceeded]struct {
		id consentID
		at time.Time
	}
}

func newConsents(interval time.Duration) *consents {
	return &consents{interval: interval, seed: maphash.MakeSeed(), failed: map[consentID]time.Time{}}
}

func (c *consents) id(consent string) consentID {
	return consentID(maphash.String(c.seed, canonical.CountedID(consent)))
}

// fails records a failure with a response, and reports whether it counts: once per consent and interval, or always if
// othersSucceed does not hold. It is not recorded if too many consents fail to be remembered.
func (c *consents) fails(id consentID, now time.Time) bool {
	c.forget(now)
	_, counted := c.failed[id]
	if !counted && len(c.failed) < maxConsents {
		c.failed[id] = now
		return true
	}
	return !c.othersSucceed(id, now)
}

// forget drops the failures of longer ago than an interval.
func (c *consents) forget(now time.Time) {
	maps.DeleteFunc(c.failed, func(_ consentID, at time.Time) bool { return now.Sub(at) >= c.interval })
}

// endSuccess records that a consent's last outcome is no success any more.
func (c *consents) endSuccess(id consentID) {
	for i, s := range c.succeeded {
		if s.id == id && !s.at.IsZero() {
			copy(c.succeeded[i:], c.succeeded[i+1:])
			c.succeeded[len(c.succeeded)-1].at = time.Time{}
			return
		}
	}
}

// succeeds records a success.
func (c *consents) succeeds(id consentID, now time.Time) {
	last := len(c.succeeded) - 1
	for i := range last {
		if c.succeeded[i].id == id {
			last = i
		}
	}
	copy(c.succeeded[1:last+1], c.succeeded[:last])
	c.succeeded[0].id, c.succeeded[0].at = id, now
}

// suffice reports whether the failing consents show that the ASPSP fails after a failure of id: there are enough of them,
// or othersSucceed does not hold.
func (c *consents) suffice(id consentID, now time.Time) bool {
	c.forget(now)
	return len(c.failed) >= consentsNeeded || !c.othersSucceed(id, now)
}

// othersSucceed reports whether the last outcome within the interval of a consent other than id is a success. If
// maxSucceeded consents succeed and then fail, it may not see another one.
func (c *consents) othersSucceed(id consentID, now time.Time) bool {
	for _, s := range c.succeeded {
		if s.id != id && !s.at.IsZero() && now.Sub(s.at) < c.interval {
			return true
		}
	}
	return false
}
