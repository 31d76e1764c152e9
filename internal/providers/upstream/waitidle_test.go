package upstream

import (
	"context"
	"net"
	"net/http/httptrace"
	"testing"
	"time"
)

// TestDataBeforeRequest: data that arrives on a reused connection before its next request is
// written is not a response to it.
func TestDataBeforeRequest(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{true, false} {
		ours, theirs := net.Pipe()
		dial := reusable(func(context.Context, string, string) (net.Conn, error) { return ours, nil })
		conn, err := dial(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			got <- err
		}()
		waitUntilIdle(t.Context(), httptrace.GotConnInfo{Conn: conn, Reused: true})
		if !early {
			go func() { _, _ = theirs.Read(make([]byte, 1)) }()
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := <-got; (err != nil) != early {
			t.Errorf("early is %t: %v", early, err)
		}
	}
}

// TestWaitUntilIdleEnds: waitUntilIdle returns when its context ends.
func TestWaitUntilIdleEnds(t *testing.T) {
	t.Parallel()
	ours, _ := net.Pipe()
	conn, err := reusable(func(context.Context, string, string) (net.Conn, error) { return ours, nil })(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(context.CancelFunc){
		"its caller leaves": func(cancel context.CancelFunc) { cancel() },
		"it is closed":      func(context.CancelFunc) { conn.Close() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() {
			waitUntilIdle(ctx, httptrace.GotConnInfo{Conn: conn, Reused: true})
			close(ended)
		}()
		end(cancel)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error(name + ": waitUntilIdle does not return")
		}
		cancel()
	}
}
