package crashproxy_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ais-gateway/internal/crashproxy"
)

// within bounds every wait of these tests.
const within = 60 * time.Second

// echo is the address of a server that answers each chunk with the same in capitals, and what it
// received.
func echo(t *testing.T) (address string, received func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var all strings.Builder
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 1<<10)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					mu.Lock()
					all.Write(buffer[:n])
					mu.Unlock()
					_, _ = io.WriteString(conn, strings.ToUpper(string(buffer[:n])))
				}
			}()
		}
	}()
	return l.Addr().String(), func() string { mu.Lock(); defer mu.Unlock(); return all.String() }
}

func dial(t *testing.T, w *crashproxy.Proxy) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", w.Addr, within)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// say sends a text and returns the answer.
func say(conn net.Conn, text string) (string, error) {
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	buffer := make([]byte, 1<<10)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

func mustSay(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if got, err := say(conn, text); err != nil || got != strings.ToUpper(text) {
		t.Fatalf("%q, %v", got, err)
	}
}

func refused(w *crashproxy.Proxy) bool {
	conn, err := net.DialTimeout("tcp", w.Addr, within)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// The process dies after exactly as many chunks as was said, over all its ways, and to the world it
// is dead for good.
func TestCrashAfter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		after    int
		received string // by both servers together
	}{
		{"the first request", 1, "one"},
		{"the first answer", 2, "one"},
		{"the request on the other way", 3, "onetwo"},
		{"the answer on the other way", 4, "onetwo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, receivedFirst := echo(t)
			second, receivedSecond := echo(t)
			p := crashproxy.New(t)
			a, b := p.NewProxy(first), p.NewProxy(second)
			one, two, idle := dial(t, a), dial(t, b), dial(t, b)
			mustSay(t, idle, "x")
			p.CrashAfter(tt.after)
			for _, ask := range []struct {
				conn net.Conn
				text string
			}{{one, "one"}, {two, "two"}, {one, "three"}} {
				if _, err := say(ask.conn, ask.text); err != nil && !isReset(err) {
					t.Errorf("%s: %v", ask.text, err)
				}
			}
			if !p.Crashed() {
				t.Error("the process lives")
			}
			received := func() string { return receivedFirst() + strings.TrimPrefix(receivedSecond(), "x") }
			await(t, "the servers have received what the kernel still brings", func() bool { return received() == tt.received })
			if _, err := idle.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("an idle connection: %v", err)
			}
			a.Open()
			if !refused(a) || !refused(b) {
				t.Error("a dead process takes connections")
			}
			if last := p.LastStep(); last.Proxy != map[bool]*crashproxy.Proxy{true: a, false: b}[tt.after <= 2] || last.FromServer != (tt.after%2 == 0) {
				t.Errorf("the last step was %+v", last)
			}
			if got := received(); got != tt.received {
				t.Errorf("the servers received %q, want %q", got, tt.received)
			}
		})
	}
}

// A server of a dead process sees its connections end too.
func TestServerSeesTheCrash(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := crashproxy.New(t)
	dial(t, p.NewProxy(l.Addr().String()))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.Crash()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !isReset(err) && !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	address, received := echo(t)
	p := crashproxy.New(t)
	w := p.NewProxy(address)
	conn := dial(t, w)
	p.After(1, func() { t.Error("taken back, and called") })
	p.After(1, nil)
	mustSay(t, conn, "a")
	held, finish := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	p.After(1, func() { close(held); <-finish; finished.Store(true) })
	ended := make(chan error, 1)
	go func() {
		_, err := say(conn, "b")
		if err == nil && !finished.Load() {
			err = errors.New("the answer passed while something was being done")
		}
		ended <- err
	}()
	<-held
	await(t, "the request has arrived", func() bool { return received() == "ab" }) // so that there is an answer to pass
	close(finish)
	if err := <-ended; err != nil || received() != "ab" {
		t.Errorf("%v, received %q", err, received())
	}
	mustSay(t, conn, "c")
}

func TestRefuseAndCut(t *testing.T) {
	t.Parallel()
	address, _ := echo(t)
	p := crashproxy.New(t)
	w, other := p.NewProxy(address), p.NewProxy(address)
	conn, apart := dial(t, w), dial(t, other)
	mustSay(t, conn, "a")
	mustSay(t, apart, "a")
	w.Refuse()
	w.Refuse()
	if !refused(w) {
		t.Error("a connection was made")
	}
	mustSay(t, conn, "b")
	w.Cut()
	if _, err := say(conn, "c"); !isReset(err) {
		t.Errorf("after the cut: %v", err)
	}
	w.Open()
	w.Open()
	mustSay(t, dial(t, w), "d")
	mustSay(t, apart, "e")
	if n := w.Accepted(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	const late = 60 * time.Millisecond
	address, received := echo(t)
	w := crashproxy.New(t).NewProxy(address)
	conn := dial(t, w)
	w.Delay(late)
	began := time.Now()
	mustSay(t, conn, "a")
	if took := time.Since(began); took < late {
		t.Errorf("took %v", took)
	}
	last := dial(t, w)
	if _, err := io.WriteString(last, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := last.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(last); string(got) != "KEPT" || err != nil {
		t.Errorf("what was sent before the end: %q, %v", got, err)
	}
	w.Delay(24 * time.Hour)
	w.Delay(0)
	mustSay(t, dial(t, w), "b")
	if received() != "akeptb" {
		t.Errorf("received %q", received())
	}
}

// What is held back passes when it is released, with what was sent after it, unless its connection
// was reset.
func TestHold(t *testing.T) {
	t.Parallel()
	address, received := echo(t)
	w := crashproxy.New(t).NewProxy(address)
	conn, lost, idle := dial(t, w), dial(t, w), dial(t, w)
	release := w.Hold()
	for _, sent := range []struct {
		conn net.Conn
		text string
	}{{conn, "kept"}, {lost, "lost"}} {
		if _, err := io.WriteString(sent.conn, sent.text); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "both are held", func() bool { return w.Holding() == 2 })
	if _, err := io.WriteString(conn, " too"); err != nil {
		t.Fatal(err)
	}
	if err := lost.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	lost.Close()
	await(t, "the reset has arrived", func() bool { return w.Holding() == 1 })
	if received() != "" {
		t.Errorf("received %q although all is held", received())
	}
	release()
	release()
	if got, err := io.ReadAll(io.LimitReader(conn, int64(len("kept too")))); string(got) != "KEPT TOO" || err != nil {
		t.Errorf("what was held: %q, %v", got, err)
	}
	mustSay(t, conn, "a")
	mustSay(t, idle, "b")
	if received() != "kept tooab" || w.Holding() != 0 {
		t.Errorf("received %q, %d are held", received(), w.Holding())
	}
}

// A chunk passes when its channel is closed, and immediately without one.
func TestOnSend(t *testing.T) {
	t.Parallel()
	address, received := echo(t)
	w := crashproxy.New(t).NewProxy(address)
	pass := make(chan struct{})
	w.OnSend(func(chunk []byte) <-chan struct{} {
		if string(chunk) == "waits" {
			return pass
		}
		return nil
	})
	conn, other := dial(t, w), dial(t, w)
	if _, err := io.WriteString(conn, "waits"); err != nil {
		t.Fatal(err)
	}
	await(t, "it is held", func() bool { return w.Holding() == 1 })
	mustSay(t, other, "a")
	close(pass)
	if got, err := io.ReadAll(io.LimitReader(conn, int64(len("waits")))); string(got) != "WAITS" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	mustSay(t, conn, "b")
	if received() != "awaitsb" || w.Holding() != 0 {
		t.Errorf("received %q, %d are held", received(), w.Holding())
	}
}

// A process that crashes while data is held back loses it.
func TestHoldEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	address, received := echo(t)
	p := crashproxy.New(t)
	w := p.NewProxy(address)
	conn := dial(t, w)
	w.Hold()
	if _, err := io.WriteString(conn, "lost"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await(t, "it is held", func() bool { return w.Holding() == 1 })
	p.Crash()
	await(t, "nothing is held", func() bool { return w.Holding() == 0 })
	if received() != "" {
		t.Errorf("received %q", received())
	}
}

// A connection to a server that is not there is reset, and a server's end is passed on.
func TestEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := crashproxy.New(t)
	w := p.NewProxy(l.Addr().String())
	conn := dial(t, w)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the server's end: %v", err)
	}
	l.Close()
	unserved, err := net.DialTimeout("tcp", w.Addr, within)
	if err == nil {
		defer unserved.Close()
		_, err = unserved.Read(make([]byte, 1))
	}
	if !isReset(err) {
		t.Errorf("no server: %v", err)
	}
}
