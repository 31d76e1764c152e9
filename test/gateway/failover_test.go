package gateway_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// behind is how many answers the primary has a part in while its replicas hear nothing of it: few, so that the sentinels do
// not take the replicas for lost.
const behind = 20

// failOver loses the primary under load, time and again, and has a replica take over: one that has all that the
// primary had, or with cut one whose connection was lost a moment before. The bank refuses nothing, so that everything
// is seen that was forgotten.
func failOver(t *testing.T, times, waitReplicas int, cut bool) (calls, over int) {
	t.Helper()
	redis := redistest.StartSentinel(t, durable...)
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: fmt.Sprintf("{mode: sentinel, addresses: %s, masterName: %s, waitReplicas: %d}",
		list(redis.Addrs), redis.MasterName, waitReplicas)})
	for _, bank := range []string{mastercardsim.WoodBank, sandbox.MyPOS} {
		w.Ledger.SetPolicy(bank, aspspsim.Policy{Limit: math.MaxInt, Window: 24 * time.Hour, Unit: aspspsim.PerConsent})
	}
	config := impatient(t, w, 5*time.Second)
	l := startLoad(t, []*process{serve(t, config), serve(t, config), serve(t, config)})
	for range times {
		l.awaits(t, 50, given, unlinked)
		old, replicas := redis.Primary(), redis.Replicas()
		if cut {
			for _, r := range replicas {
				r.Pause()
			}
			if err := old.Do("CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
				t.Fatal(err)
			}
			// What the primary counts now, the replicas do not have; with waitReplicas it counts nothing.
			l.awaits(t, behind, given, unlinked, uncounted)
		}
		old.Stop()
		if cut {
			for _, r := range replicas {
				r.Resume()
			}
		}
		redis.AwaitPrimary(old)
		l.back(t)
		old.Restart()
		redis.AwaitReplicas()
	}
	l.awaits(t, 50, given, unlinked, limited)
	calls, over, _ = l.settle(t, w.Ledger)
	return calls, over
}

// With waitReplicas a failover forgets no slot, though the replicas had lost their primary before: meanwhile no
// unattended call was made.
func TestFailoverForgetsNothing(t *testing.T) {
	t.Parallel()
	// Else it would show nothing that none is forgotten.
	if _, over := failOver(t, 1, 0, true); over == 0 {
		t.Error("nothing is forgotten without waitReplicas: the replicas had not lost their primary")
	}
	calls, over := failOver(t, 2, 1, true)
	if over > 0 || calls == 0 {
		t.Errorf("%d of %d calls reached the bank beyond four", over, calls)
	}
}
