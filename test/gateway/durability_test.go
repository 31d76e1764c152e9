package gateway_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// back waits until each gateway makes unattended calls again.
func (l *load) back(t *testing.T) {
	t.Helper()
	others := freshConsents()
	for i := range l.gateways {
		of := others.at(i)
		gatewaytest.Eventually(t, "unattended calls are made again", func() bool {
			answer, err := l.ask(l.gateways[i].Load().(string), of, of.path(1))
			return err == nil && answer == given
		})
	}
}

// Redis is killed again and again under load, with appendfsync always: no consent gets a fifth call, and the
// gateways count again by themselves when Redis is back.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	const kills = 4
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	config := impatient(t, w, 5*time.Second)
	l := startLoad(t, []*process{serve(t, config), serve(t, config), serve(t, config)})
	for range kills {
		l.awaits(t, 1+rand.IntN(100), given, unlinked, limited)
		server.Stop()
		l.awaits(t, 1+rand.IntN(20), uncounted)
		server.Restart()
		l.back(t)
	}
	_, over, lost := l.settle(t, w.Ledger)
	// What was counted by a step without an answer is looked for and given back, and then used.
	for end := time.Now().Add(30 * time.Second); lost > 0 && time.Now().Before(end); time.Sleep(time.Second) {
		_, over, lost = l.settle(t, w.Ledger)
	}
	if refused := len(w.Ledger.Breaches()); over > 0 || refused > 0 {
		t.Errorf("%d calls reached the bank beyond four, and it refused %d", over, refused)
	}
	l.only(t, given, unlinked, limited, uncounted)
	// A slot that cannot be given back for some 13 s stays counted, which is safe: on a busy machine that may happen to a few.
	if n := l.count(uncounted); lost*100 > n {
		t.Errorf("%d of the four were never made; %d calls could not be counted", lost, n)
	}
	t.Logf("%d kills, %d consents, %v; calls never made: %d", kills, l.used(), l.answered, lost)
}
