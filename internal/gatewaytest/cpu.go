package gatewaytest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clockTick is the unit of CPU times in /proc (USER_HZ).
const clockTick = time.Second / 100

// CPUTime returns the CPU time, of user and system, that processes and their descendants have used
// so far. Linux counts it in hundredths of a second. Descendants that have exited do not count.
func CPUTime(t *testing.T, pids ...int) time.Duration {
	t.Helper()
	stats := processes(t)
	used := time.Duration(0)
	for _, pid := range tree(stats, pids) {
		used += stats[pid].cpu
	}
	return used
}

// TreeResidentMB returns the resident memory of processes and their descendants in MB. Memory that
// they share counts for each of them.
func TreeResidentMB(t *testing.T, pids ...int) int {
	t.Helper()
	total := 0
	for _, pid := range tree(processes(t), pids) {
		total += ResidentMB(t, pid)
	}
	return total
}

// MachineTime returns the time that all CPUs of the machine have worked so far, and all their time.
func MachineTime(t *testing.T) (busy, all time.Duration) {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	if busy, all, err = parseMachine(string(text)); err != nil {
		t.Fatal(err)
	}
	return busy, all
}

// processStat is what proc_pid_stat(5) says about a process.
type processStat struct {
	parent int
	cpu    time.Duration
}

// processes returns all processes of the machine by their id.
func processes(t *testing.T) map[int]processStat {
	t.Helper()
	names, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	stats := map[int]processStat{}
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue // not a process
		}
		text, err := os.ReadFile("/proc/" + name.Name() + "/stat")
		if err != nil {
			continue // it has exited
		}
		if stats[pid], err = parseProcess(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	return stats
}

// tree returns those of the ids whose process exists, and all their descendants, each once.
func tree(stats map[int]processStat, pids []int) []int {
	children := map[int][]int{}
	for pid, stat := range stats {
		children[stat.parent] = append(children[stat.parent], pid)
	}
	var all []int
	seen := map[int]bool{}
	for next := pids; len(next) > 0; next = next[1:] {
		if _, exists := stats[next[0]]; exists && !seen[next[0]] {
			seen[next[0]] = true
			all = append(all, next[0])
			next = append(next, children[next[0]]...)
		}
	}
	return all
}

// parseProcess parses /proc/PID/stat. The second field, the name of the program, is in parentheses
// and may contain any character; fields 4, 14 and 15 are the parent and the times of user and
// system.
func parseProcess(text string) (processStat, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return processStat{}, fmt.Errorf("%d fields after the name of a process", len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return processStat{}, err
	}
	cpu, err := sumTicks(fields[11:13])
	return processStat{parent, cpu}, err
}

// parseMachine parses the first line of /proc/stat: the times of user, nice, system, idle, iowait,
// irq, softirq and steal. The times of guests, which follow, are in user and nice already.
func parseMachine(text string) (busy, all time.Duration, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the times of all CPUs")
	}
	if all, err = sumTicks(fields[1:9]); err != nil {
		return 0, 0, err
	}
	idle, err := sumTicks(fields[4:6])
	return all - idle, all, err
}

// sumTicks returns the sum of times in clock ticks.
func sumTicks(fields []string) (time.Duration, error) {
	sum := time.Duration(0)
	for _, field := range fields {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum, nil
}
