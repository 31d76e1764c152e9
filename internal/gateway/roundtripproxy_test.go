package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gateway"
)

// stuckAfter is how long after a request's last command the test gives it up. Only a request that
// waits for the reply to a command that is held back takes as long.
const stuckAfter = time.Minute

// expectRoundTrips checks which commands a request sends to a Redis. before are those that must be
// sent before the response: the names of scripts, with "+" between those of one round trip, which
// are sent side by side, and " > " between round trips. after are those that must not delay the
// response. read makes the request to a gateway that is new, so that it has sent no commands. All
// scripts must be loaded.
func (w *fixture) expectRoundTrips(t *testing.T, before, after string, read func(*gateway.Gateway)) {
	t.Helper()
	r := newRoundTrips(t, before, after)
	proxy := crashproxy.New(t).NewProxy(w.cacheAddr)
	proxy.OnSend(r.onSend)
	w.cacheAddr, w.counterAddr = proxy.Addr, proxy.Addr
	g := w.gateway()
	read(g)
	r.respond()
	drain(t, g)
	if fault := r.end(); fault != "" {
		t.Errorf("%s\nwant %q, and after the response %q", fault, before, after)
	}
}

// drain waits until all that the requests of a gateway have left to do in Redis is done.
func drain(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	eventually(t, "the gateway is drained", func() bool { return errors.Join(g.Drain(t.Context()), g.Counter.Drain(t.Context())) == nil })
}

// roundTrips holds back each command of a request until all commands of the same round trip are
// sent: a gateway that sends them one after the other does not get a reply. Commands that are
// expected after the response are held back until then. After a fault nothing is held back.
type roundTrips struct {
	scripts map[string]string // see scriptNames
	total   int               // round trips before the response

	mu        sync.Mutex
	sent      []string      // commands so far
	before    [][]string    // commands that are not sent yet, for each round trip that is not complete
	after     []string      // likewise, of those after the response
	complete  chan struct{} // closed when the first round trip of before is complete
	response  chan struct{} // closed at the response
	responded bool
	fault     string // the first one
	stuck     *time.Timer
}

func newRoundTrips(t *testing.T, before, after string) *roundTrips {
	t.Helper()
	r := &roundTrips{scripts: scriptNames(t), complete: make(chan struct{}), response: make(chan struct{}), after: strings.Fields(after)}
	if before != "" {
		for trip := range strings.SplitSeq(before, " > ") {
			r.before = append(r.before, strings.Split(trip, "+"))
		}
	}
	r.total = len(r.before)
	r.stuck = time.AfterFunc(stuckAfter, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.responded {
			r.fail("the gateway does not continue without a reply to what is held back")
		}
	})
	t.Cleanup(func() { r.stuck.Stop() })
	return r
}

// onSend records the commands that the gateway has written. A batch of scripts is one write, and
// shares one round trip: if one of them is expected before the response, the others cannot wait.
func (r *roundTrips) onSend(written []byte) (released <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names, err := r.commands(written)
	if err != nil {
		r.fail(fmt.Sprintf("%q: %v", written, err))
	}
	for _, name := range names {
		r.sent = append(r.sent, name)
		r.stuck.Reset(stuckAfter)
		switch {
		case len(r.before) > 0 && remove(&r.before[0], name):
			released = r.complete
		case !remove(&r.after, name):
			r.fail(name + " is not expected")
		case released == nil:
			released = r.response
		}
	}
	switch {
	case r.fault != "":
		return nil
	case len(r.before) > 0 && len(r.before[0]) == 0:
		close(r.complete)
		r.before, r.complete = r.before[1:], make(chan struct{})
	}
	return released
}

// respond records the response.
func (r *roundTrips) respond() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.before) > 0 {
		r.fail("the response is there already")
	}
	if r.fault == "" {
		close(r.response)
	}
	r.responded = true
}

// end returns the first fault, or "" if there was none. The gateway must be drained.
func (r *roundTrips) end() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.after) > 0 {
		r.fail(r.after[0] + " is not sent")
	}
	return r.fault
}

// fail records a fault where the request is now. The caller holds the lock.
func (r *roundTrips) fail(what string) {
	if r.fault != "" {
		return
	}
	where := "after the last round trip"
	if left := len(r.before); left > 0 {
		where = fmt.Sprintf("round trip %d of %d, which lacks %q", r.total-left+1, r.total, r.before[0])
	}
	r.fault = fmt.Sprintf("%s: %s\ngot  %q", where, what, r.sent)
	close(r.complete)
	if !r.responded {
		close(r.response)
	}
}

// commands returns the names of the commands in what a client has written. Those that set up a
// connection are left out.
func (r *roundTrips) commands(written []byte) (names []string, err error) {
	for in := bytes.NewReader(written); in.Len() > 0; {
		args, err := readCommand(in)
		if err != nil {
			return nil, err
		}
		if args[0] != "hello" && args[0] != "client" {
			names = append(names, r.name(args))
		}
	}
	return names, nil
}

// readCommand reads a command in the protocol of Redis: an array of texts.
func readCommand(in *bytes.Reader) ([]string, error) {
	var n, size int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		text := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:size])
	}
	return args, nil
}

// takeArgs is the number of arguments of a take without ids: the command, its script, three keys with
// their number, and eight arguments.
const takeArgs = 14

// name returns the name of a command: that of its script, or the command with its first argument. A
// take without the id of a slot reads the usage, or how long to wait for the slots that are needed.
func (r *roundTrips) name(args []string) string {
	command := strings.Join(args[:min(len(args), 2)], " ")
	switch name := r.scripts[command]; {
	case name == "":
		return command
	case name == "take" && len(args) == takeArgs && args[takeArgs-2] == "0":
		return "usage"
	case name == "take" && len(args) == takeArgs:
		return "fits"
	default:
		return name
	}
}

// scriptNames returns the names of the commands that run scripts: those of the scripts' files. Some
// scripts begin with another file.
func scriptNames(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, dir := range []string{"cache", "unattended"} {
		files, err := filepath.Glob("../" + dir + "/*.lua")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no scripts: %v", dir, err)
		}
		sources := []string{""}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, string(source))
		}
		for i, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".lua")
			for _, first := range sources {
				source := first + sources[i+1]
				names["evalsha "+redis.NewScript(source).Hash()], names["eval "+source] = name, "eval of "+name
			}
		}
	}
	return names
}

// remove removes one element, and reports whether there was one.
func remove(from *[]string, name string) bool {
	i := slices.Index(*from, name)
	if i >= 0 {
		*from = slices.Delete(*from, i, i+1)
	}
	return i >= 0
}
