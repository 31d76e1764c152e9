package gateway_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
	"ais-gateway/internal/store"
)

// before names the earlier version of TestSideBySide.
var before = flag.String("before", "", "the `commit` of the earlier gateway; by default the last one before the package internal/coalesce")

// coalesceSubject is the subject of the commit that added internal/coalesce. Its parent is the
// default of -before.
const coalesceSubject = "coalesce: share calls in a package with one method"

// TestSideBySide runs three gateways of an earlier commit and three of this one on the same Redis,
// as during an upgrade. Together they make four calls for each consent, and they share lists, calls
// and refusals. The earlier gateway is built from the git history: the test fails where there is no
// history, as in an archive of the source code or in a shallow clone.
func TestSideBySide(t *testing.T) {
	earlier := buildEarlier(t)
	start := func(t *testing.T, config string) (gateways []*process) {
		for range 3 {
			old := gatewaytest.Run(t, exec.Command(earlier, "serve", "--config", config)).Listening()
			gateways = append(gateways, &process{old}, serve(t, config))
		}
		return gateways
	}
	t.Run("at the same time", func(t *testing.T) {
		w := gatewaytest.NewSandbox(t, sandbox.Options{})
		calls := assertFourCalls(t, w.CallLog, start(t, earlierConfig(t, w)), 20, consents.at)
		if slices.Contains(calls, 0) {
			t.Errorf("a gateway made no call: %v", calls)
		}
	})
	t.Run("under load", func(t *testing.T) {
		w := gatewaytest.NewSandbox(t, sandbox.Options{})
		l := startLoad(t, start(t, earlierConfig(t, w)))
		l.waitForOutcomes(t, 1000, ok, accountUnknown)
		_, over, lost := l.finish(t, w.CallLog)
		if refused := len(w.CallLog.Breaches()); over > 0 || refused > 0 {
			t.Errorf("%d calls beyond four reached the bank, which refused %d", over, refused)
		}
		l.assertOnly(t, ok, accountUnknown, limitReached, counterUnavailable)
		if n := l.count(counterUnavailable); lost > n {
			t.Errorf("%d of the four calls were never made, and %d requests were not counted", lost, n)
		}
		t.Logf("%d consents, %v; calls never made: %d", l.usedConsents(), l.outcomes, lost)
	})
	t.Run("shared", func(t *testing.T) {
		server, bank := redistest.Start(t), newBlockingASPSP()
		w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{Front: bank.front})
		gateways := start(t, earlierConfig(t, w))
		s := sideBySide{Sandbox: w, bank: bank, commands: monitorRedis(t, server.Addr, "")}
		t.Run("by the earlier version", func(t *testing.T) { s.testShared(t, gateways[0], gateways[1]) })
		t.Run("by this version", func(t *testing.T) { s.testShared(t, gateways[1], gateways[0]) })
	})
	t.Run("account keys", func(t *testing.T) {
		w := gatewaytest.NewSandbox(t, sandbox.Options{})
		old := gatewaytest.Run(t, exec.Command(earlier, "serve", "--config", earlierConfig(t, w))).Listening()
		testEarlierKeepsKeyedList(t, w, &process{old}, serve(t, w.ConfigFile))
	})
}

// testEarlierKeepsKeyedList tests that a list with account keys is a miss for an earlier gateway,
// which fetches the list and does not overwrite the stored one.
func testEarlierKeepsKeyedList(t *testing.T, w *sandbox.Sandbox, earlier, keyed *process) {
	t.Helper()
	header := unattendedHeaders(freshConsent())
	accounts := func(p *process, cacheStatus string, hasKeys bool) {
		t.Helper()
		got := get(p.API+woodPath+"/accounts", header...)
		status, _, _ := strings.Cut(got.header.Get("Cache-Status"), "; ttl=")
		if got.status != 200 || status != "ais-gateway; "+cacheStatus || strings.Contains(got.body, `"accountKey"`) != hasKeys {
			t.Errorf("%v, %q, want %q; account keys: %t", got, status, cacheStatus, hasKeys)
		}
	}
	accounts(keyed, "fwd=miss; stored", true)
	accounts(earlier, "fwd=miss", false)
	accounts(keyed, "hit", true)
	if n := (sideBySide{Sandbox: w}).calls(header); n != 2 {
		t.Errorf("%d calls reached the bank, want 2", n)
	}
}

// earlierConfig returns a configuration with the providers that the earlier gateway has, and without
// accounts.keyFile, which it does not know.
func earlierConfig(t *testing.T, w *sandbox.Sandbox) string {
	t.Helper()
	return gatewaytest.EditConfig(t, w, func(text string) string {
		text, _, _ = strings.Cut(text, "accounts: {keyFile: ")
		text = regexp.MustCompile(`(?m)^  (berlingroup|obie): .*\n`).ReplaceAllString(text, "")
		return regexp.MustCompile(`(?s)  - \{id: `+sandbox.ElmBank+`.*\n(cache: )`).ReplaceAllString(text, "$1")
	})
}

// buildEarlier builds the gateway of the commit that -before names, and returns the path of the
// binary.
func buildEarlier(t *testing.T) string {
	t.Helper()
	const root = "../.."
	run := func(dir, name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the test builds an earlier gateway from the git history, which an archive of the source code and a shallow clone "+
				"do not have: %v: %v\n%s", cmd, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	// The repository may belong to another user, as on some build machines.
	git := func(args ...string) string {
		return run(root, "git", append([]string{"-c", "safe.directory=*"}, args...)...)
	}
	commit := *before
	if commit == "" {
		added := git("rev-list", "-1", "--grep=^"+coalesceSubject+"$", "HEAD")
		if added == "" {
			t.Fatalf("the git history has no commit %q, or it is a shallow clone; name the commit of the earlier gateway with -args -before COMMIT",
				coalesceSubject)
		}
		commit = added + "^"
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "source.tar"), filepath.Join(dir, "bin", "gateway")
	git("archive", "--format=tar", "--output="+source, commit)
	run(dir, "tar", "-xf", source)
	// With -trimpath, the go command caches the result although the directory is new. An image is
	// built in the same way.
	run(dir, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "nomsgpack", "-o", binary, "./cmd/gateway")
	return binary
}

// sideBySide is what gateways of two versions share.
type sideBySide struct {
	*sandbox.Sandbox
	bank     *blockingASPSP
	commands *gatewaytest.Output // that Redis executes
}

// testShared tests that the second gateway uses what the first one has fetched or is fetching,
// instead of making a call.
func (s sideBySide) testShared(t *testing.T, first, second *process) {
	unknown := "/accounts/none/balances"
	for name, attempt := range map[string]func(*testing.T) bool{
		"cached list, unattended": func(t *testing.T) bool {
			return s.reuses(t, first, second, "/accounts", unattendedHeaders(freshConsent()))
		},
		"cached list, attended": func(t *testing.T) bool {
			return s.reuses(t, first, second, "/accounts", attendedHeaders(freshConsent()))
		},
		"refusal": func(t *testing.T) bool { return s.reuses(t, first, second, unknown, unattendedHeaders(freshConsent())) },
		"call, list, unattended": func(t *testing.T) bool {
			return s.waits(t, first, second, "/accounts", unattendedHeaders(freshConsent()))
		},
		"call, list, attended": func(t *testing.T) bool {
			return s.waits(t, first, second, "/accounts", attendedHeaders(freshConsent()))
		},
		"call, balances": func(t *testing.T) bool {
			return s.waits(t, first, second, balancesPath, unattendedHeaders(freshConsent()))
		},
		"call, failure of the bank": func(t *testing.T) bool { return s.waits(t, first, second, unknown, unattendedHeaders(freshConsent())) },
	} {
		t.Run(name, func(t *testing.T) {
			// A gateway for which Redis responds too late makes a call itself. So an attempt may
			// fail on a busy machine. If a gateway does not read what the other one writes, all
			// attempts fail.
			const want, most = 5, 100
			shared, made := 0, 0
			for ; shared < want && made < most && !t.Failed(); made++ {
				if attempt(t) {
					shared++
				}
			}
			if shared < want {
				t.Errorf("shared in %d of %d attempts", shared, made)
			}
		})
	}
}

// reuses makes a request to one gateway, then the same to another one, and reports whether there
// was one call.
func (s sideBySide) reuses(t *testing.T, first, second *process, path string, header []string) bool {
	t.Helper()
	one, other := get(first.API+woodPath+path, header...), get(second.API+woodPath+path, header...)
	requireSame(t, path, one, other)
	hit := one.status != 200 || strings.HasPrefix(other.header.Get("Cache-Status"), "ais-gateway; hit")
	return s.calls(header) == 1 && hit
}

// waits makes a request to one gateway and holds its call, makes the same request to another one
// until that waits for the call or makes its own, and reports whether there was one call.
func (s sideBySide) waits(t *testing.T, first, second *process, path string, header []string) bool {
	t.Helper()
	open, began := s.bank.block(t), time.Now()
	one := concurrently(1, func(int) response { return get(first.API+woodPath+path, header...) })
	waitForCalls(t, s.bank, 1)
	// The end of the call by Redis's clock may be early by as long as the lease took.
	uncertainty := time.Since(began)
	other := concurrently(1, func(int) response { return get(second.API+woodPath+path, header...) })
	outcome := store.Prefix("accounts", "sandbox", mastercardsim.WoodBank, canonical.NormalizeID(header[1])) + "note:"
	gatewaytest.Eventually(t, "the second gateway waits or calls", func() bool {
		return len(s.bank.arrived) > 0 || strings.Contains(s.commands.String(), outcome)
	})
	time.Sleep(uncertainty)
	open()
	requireSame(t, path, <-one, <-other)
	for len(s.bank.arrived) > 0 {
		<-s.bank.arrived
	}
	s.commands.Take()
	return s.calls(header) == 1
}

// calls returns how many calls reached the bank under the consent of a request.
func (s sideBySide) calls(header []string) int {
	n := 0
	for _, c := range s.CallLog.Calls() {
		if c.Consent == header[1] {
			n++
		}
	}
	return n
}

// requireSame requires that two gateways send the same data, or the same problem.
func requireSame(t *testing.T, path string, one, other response) {
	t.Helper()
	content := func(a response) string {
		var body struct {
			Accounts, Balances json.RawMessage
			Code               string
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Accounts == nil && body.Balances == nil && body.Code == "" {
			t.Errorf("%s: %v, %v", path, a, err)
		}
		return string(body.Accounts) + string(body.Balances) + body.Code
	}
	if one.status != other.status || content(one) != content(other) || one.status != 200 && one.status != 404 {
		t.Errorf("%s: one gateway sends %v, the other %v", path, one, other)
	}
}
