package gateway_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// waitForRecovery waits until each gateway makes unattended calls again.
func (l *load) waitForRecovery(t *testing.T) {
	t.Helper()
	unused := newConsents()
	for i := range l.gateways {
		c := unused.at(i)
		gatewaytest.Eventually(t, "unattended calls are made again", func() bool {
			outcome, err := l.get(l.gateways[i].Load().(string), c, c.path(1))
			return err == nil && outcome == ok
		})
	}
}

// TestRedisKilled: Redis with `appendfsync always` is killed repeatedly under load. No consent gets
// a fifth call, and the gateways recover without a restart.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	const kills = 4
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	config := withProviderTimeout(t, w, 5*time.Second)
	l := startLoad(t, []*process{serve(t, config), serve(t, config), serve(t, config)})
	for range kills {
		l.waitForOutcomes(t, 1+rand.IntN(100), ok, accountUnknown, limitReached)
		server.Stop()
		l.waitForOutcomes(t, 1+rand.IntN(20), counterUnavailable)
		server.Restart()
		l.waitForRecovery(t)
	}
	_, over, lost := l.finish(t, w.CallLog)
	// Slots that were taken without a response from Redis are released in the background. Then they
	// can be used.
	for end := time.Now().Add(30 * time.Second); lost > 0 && time.Now().Before(end); time.Sleep(time.Second) {
		_, over, lost = l.finish(t, w.CallLog)
	}
	if refused := len(w.CallLog.Breaches()); over > 0 || refused > 0 {
		t.Errorf("%d calls beyond four reached the bank, which refused %d", over, refused)
	}
	l.assertOnly(t, ok, accountUnknown, limitReached, counterUnavailable)
	// A slot that cannot be released within about 13 s stays counted, which is safe. On a busy
	// machine this happens to a few.
	if n := l.count(counterUnavailable); lost*100 > n {
		t.Errorf("%d of the four calls were never made; %d requests could not be counted", lost, n)
	}
	t.Logf("%d kills, %d consents, %v; calls never made: %d", kills, l.usedConsents(), l.outcomes, lost)
}
