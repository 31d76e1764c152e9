package breaker

import (
	"hash/maphash"
	"maps"
	"time"

	"ais-gateway/internal/canonical"
)

const (
	// consentsNeeded is the number of consents that must fail with a response to show a failure of
	// the ASPSP.
	consentsNeeded = 3
	// maxConsents is the maximum number of failed consents that are stored: 4,096 take about 200
	// KiB.
	maxConsents = 4096
	// maxSucceeded is the maximum number of successful consents that are stored.
	maxSucceeded = 16
)

// consentID is a hash of a consent with a seed of this process.
type consentID uint64

// consents stores which consents failed and which succeeded within an interval, only as hashes.
type consents struct {
	interval time.Duration
	seed     maphash.Seed
	failed   map[consentID]time.Time // time of the last counted failure with a response
	// succeeded are the consents whose last outcome is a success, the latest first. Their maximum
	// is above consentsNeeded, so that they contain one that has not failed, if there is any.
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

// recordFailure records a failure with a response, and reports whether it counts: once per consent
// and interval, or always if othersSucceed is false. Beyond maxConsents it records nothing.
func (c *consents) recordFailure(id consentID, now time.Time) bool {
	c.expire(now)
	_, counted := c.failed[id]
	if !counted && len(c.failed) < maxConsents {
		c.failed[id] = now
		return true
	}
	return !c.othersSucceed(id, now)
}

// expire drops failures that are older than an interval.
func (c *consents) expire(now time.Time) {
	maps.DeleteFunc(c.failed, func(_ consentID, at time.Time) bool { return now.Sub(at) >= c.interval })
}

// endSuccess records that a consent's last outcome is no longer a success.
func (c *consents) endSuccess(id consentID) {
	for i, s := range c.succeeded {
		if s.id == id && !s.at.IsZero() {
			copy(c.succeeded[i:], c.succeeded[i+1:])
			c.succeeded[len(c.succeeded)-1].at = time.Time{}
			return
		}
	}
}

// recordSuccess records a success.
func (c *consents) recordSuccess(id consentID, now time.Time) {
	last := len(c.succeeded) - 1
	for i := range last {
		if c.succeeded[i].id == id {
			last = i
		}
	}
	copy(c.succeeded[1:last+1], c.succeeded[:last])
	c.succeeded[0].id, c.succeeded[0].at = id, now
}

// enoughFailed reports, after a failure of id, whether the failed consents show a failure of the
// ASPSP: there are enough of them, or othersSucceed is false.
func (c *consents) enoughFailed(id consentID, now time.Time) bool {
	c.expire(now)
	return len(c.failed) >= consentsNeeded || !c.othersSucceed(id, now)
}

// othersSucceed reports whether the last outcome of a consent other than id is a success within the
// interval. It may return false wrongly after maxSucceeded later consents succeeded and then
// failed.
func (c *consents) othersSucceed(id consentID, now time.Time) bool {
	for _, s := range c.succeeded {
		if s.id != id && !s.at.IsZero() && now.Sub(s.at) < c.interval {
			return true
		}
	}
	return false
}
