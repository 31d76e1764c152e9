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

// unreplicated is the number of responses while the primary is disconnected from its replicas. It
// is small, so that the sentinels do not consider the replicas as down.
const unreplicated = 20

// failOver stops the primary under load, as often as failovers says, and each time waits until a
// replica has taken over. If disconnect is set, the primary is disconnected from its replicas
// shortly before. The bank refuses no call, so that each lost slot becomes an extra call. failOver
// returns the number of calls, and how many of them were beyond four.
func failOver(t *testing.T, failovers, waitReplicas int, disconnect bool) (calls, over int) {
	t.Helper()
	redis := redistest.StartSentinel(t, durableArgs...)
	w := gatewaytest.NewSandboxWith(t, sandbox.Options{Redis: fmt.Sprintf("{mode: sentinel, addresses: %s, masterName: %s, waitReplicas: %d}",
		yamlList(redis.Addrs), redis.MasterName, waitReplicas)})
	for _, bank := range []string{mastercardsim.WoodBank, sandbox.MyPOS} {
		w.CallLog.SetPolicy(bank, aspspsim.Policy{Limit: math.MaxInt, Window: 24 * time.Hour, Unit: aspspsim.PerConsent})
	}
	config := withProviderTimeout(t, w, 5*time.Second)
	l := startLoad(t, []*process{serve(t, config), serve(t, config), serve(t, config)})
	for range failovers {
		l.waitForOutcomes(t, 50, ok, accountUnknown)
		old, replicas := redis.Primary(), redis.Replicas()
		if disconnect {
			for _, r := range replicas {
				r.Pause()
			}
			if err := old.Do("CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
				t.Fatal(err)
			}
			// The replicas do not get the slots that the primary takes now. With waitReplicas it
			// takes no slots.
			l.waitForOutcomes(t, unreplicated, ok, accountUnknown, counterUnavailable)
		}
		old.Stop()
		if disconnect {
			for _, r := range replicas {
				r.Resume()
			}
		}
		redis.AwaitPrimary(old)
		l.waitForRecovery(t)
		old.Restart()
		redis.AwaitReplicas()
	}
	l.waitForOutcomes(t, 50, ok, accountUnknown, limitReached)
	calls, over, _ = l.finish(t, w.CallLog)
	return calls, over
}

// TestFailoverLosesNoSlot: with waitReplicas, a failover loses no slot even if the replicas were
// disconnected before, because no unattended call was made in that time.
func TestFailoverLosesNoSlot(t *testing.T) {
	t.Parallel()
	// Without waitReplicas slots must be lost. Otherwise the test proves nothing.
	if _, over := failOver(t, 1, 0, true); over == 0 {
		t.Error("no slot is lost without waitReplicas: the replicas were not disconnected")
	}
	calls, over := failOver(t, 2, 1, true)
	if over > 0 || calls == 0 {
		t.Errorf("%d of %d calls were beyond four", over, calls)
	}
}
