package store_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
)

// proxied opens a store on a listener, whose connections are handled as given.
func proxied(t *testing.T, handle func(net.Conn)) *store.Store {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	s, err := store.Open(config.Redis{Mode: config.Standalone, Addresses: []string{l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestAcceptAndClose counts the connections to a proxy that ends each at once: they are spaced, whatever is requested.
func TestAcceptAndClose(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var connections atomic.Int64
	s := proxied(t, func(conn net.Conn) { connections.Add(1); conn.Close() })
	const commands = 300
	for range commands / 10 {
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if s.Counter.Get(t.Context(), "k").Err() == nil {
					t.Error("a value from nobody")
				}
			})
		}
		all.Wait()
	}
	// Of both clients: those in a row that end before connecting is spaced, those that are opened meanwhile, one each 100 ms.
	most := 2 * (2*64 + int64(time.Since(began)/(100*time.Millisecond)) + 1)
	if n := connections.Load(); n > most || n >= 2*commands {
		t.Errorf("%d connections for %d commands in %v, want at most %d", n, commands, time.Since(began), most)
	} else {
		t.Logf("%d connections for %d commands in %v", n, commands, time.Since(began))
	}
}

// TestOneMoreTry counts how often a command is sent whose connections end before its response.
func TestOneMoreTry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var sent, ends atomic.Int64
	s := proxied(t, func(conn net.Conn) {
		defer conn.Close()
		to, err := net.Dial("tcp", server.Addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(conn, to); conn.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			if bytes.Contains(buffer[:n], []byte("evalsha")) {
				sent.Add(1)
				if ends.Add(-1) >= 0 {
					return
				}
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	script := redis.NewScript("return redis.call('INCR', KEYS[1])")
	if err := script.Run(t.Context(), s.Counter, []string{"n"}).Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ends, sent int64
		fails      bool
	}{{1, 2, false}, {2, 2, true}, {100, 2, true}} {
		sent.Store(0)
		ends.Store(tt.ends)
		err := script.Run(t.Context(), s.Counter, []string{"n"}).Err()
		if (err != nil) != tt.fails || sent.Load() != tt.sent {
			t.Errorf("%d connections that end: sent %d times, %v", tt.ends, sent.Load(), err)
		}
	}
	ends.Store(0)
	for range 20 { // and nothing is left that stands in the way
		if err := script.Run(t.Context(), s.Counter, []string{"n"}).Err(); err != nil {
			t.Error(err)
		}
	}
	ends.Store(1)
	pipe := s.Counter.Pipeline()
	missing := pipe.Get(t.Context(), "missing")
	pipe.EvalSha(t.Context(), script.Hash(), []string{"n"})
	if _, err := pipe.Exec(t.Context()); !errors.Is(err, redis.Nil) || !errors.Is(missing.Err(), redis.Nil) {
		t.Errorf("a value that is not there, on the second connection: %v", err)
	}
}
