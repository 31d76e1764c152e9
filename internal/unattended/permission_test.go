package unattended_test

import (
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
)

// TestNoPermission: without permission for any command that a take needs, the take and reading the
// usage fail, and nothing is changed, so that no slot is left uncounted or without an expiry.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"eval", "evalsha", "time", "zadd", "zcount", "get", "zrangebyscore", "zscore", "zremrangebyscore", "pttl", "pexpire",
	} {
		t.Run(command, func(t *testing.T) {
			server := redistest.Start(t)
			c, known, unknown := counter(open(t, config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}), daily(4, config.UnitConsent)), list(), list()
			if command != "eval" { // only the first run of a script needs EVAL
				mustTake(t, c, known, 2)
			}
			if err := server.Do("ACL", "SETUSER", "default", "-"+command).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Usage(t.Context(), known); kind(err) != canonical.CounterUnavailable {
				t.Errorf("usage: %v", err)
			}
			for range 2 {
				if err := take(t, c, known); kind(err) != canonical.CounterUnavailable {
					t.Errorf("take: %v", err)
				}
			}
			if err := take(t, c, unknown); kind(err) != canonical.CounterUnavailable {
				t.Errorf("take of an unused unit: %v", err)
			}
			if err := server.Do("ACL", "SETUSER", "default", "+"+command).Err(); err != nil {
				t.Fatal(err)
			}
			if s, err := c.Usage(t.Context(), unknown); err != nil || s.Used != 0 {
				t.Errorf("afterwards: %+v, %v", s, err)
			}
			if command != "eval" {
				mustTake(t, c, known, 2)
				refused(t, take(t, c, known))
			}
		})
	}
}
