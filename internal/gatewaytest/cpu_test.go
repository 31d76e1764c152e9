package gatewaytest

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"ais-gateway/internal/servertest"
)

// TestParseProcess: the name of a program may look like further fields.
func TestParseProcess(t *testing.T) {
	const line = "4711 (a) S 9 (x) R 12 4711 4711 0 -1 4194560 1893 70 0 0 150 25 900 900 20 0 8 0 8412 1275 4096"
	got, err := parseProcess(line)
	if want := (processStat{parent: 12, cpu: 1750 * time.Millisecond}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (a) S 12", "1 (a) S x 1 1 0 -1 0 0 0 0 0 1 1", "1 (a) S 1 1 1 0 -1 0 0 0 0 0 1 x"} {
		if got, err := parseProcess(bad); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

// TestParseMachine: waiting for a disk is idle, time taken by other machines is not, and the time
// of guests counts once.
func TestParseMachine(t *testing.T) {
	busy, all, err := parseMachine("cpu  100 10 40 700 30 5 6 9 50 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if err != nil || busy != 1700*time.Millisecond || all != 9*time.Second {
		t.Errorf("%v of %v, %v", busy, all, err)
	}
	for _, bad := range []string{"", "cpu  1 2 3 4\n", "cpu0 1 1 1 1 1 1 1 1\n", "cpu  1 1 1 x 1 1 1 1\n"} {
		if _, _, err := parseMachine(bad); err == nil {
			t.Errorf("%q is parsed", bad)
		}
	}
}

// TestTree: descendants of every generation belong to a process, each once, and no others.
func TestTree(t *testing.T) {
	stats := map[int]processStat{1: {}, 2: {parent: 1}, 3: {parent: 2}, 4: {parent: 3}, 5: {parent: 3}, 6: {parent: 1}, 7: {parent: 6}}
	got := tree(stats, []int{2, 5, 99})
	slices.Sort(got)
	if want := []int{2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestCPUTime: the CPU time of a child counts for its parent, and is within that of the machine.
func TestCPUTime(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done & wait")
	p, err := servertest.Run(cmd, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	Eventually(t, "the child has worked", func() bool { return CPUTime(t, p.Pid()) > processes(t)[p.Pid()].cpu })
	used := CPUTime(t, p.Pid())
	if busy, all := MachineTime(t); busy < used || busy > all {
		t.Errorf("the machine has worked %v of %v, and the processes %v", busy, all, used)
	}
	if TreeResidentMB(t, os.Getpid()) == 0 {
		t.Error("the test has no memory")
	}
}
