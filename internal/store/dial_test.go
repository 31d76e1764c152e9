package store_test

import (
	"bytes"
	"context"
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

// proxied opens a Store on a listener whose connections are passed to handle.
func proxied(t *testing.T, handle func(net.Conn), password config.File) *store.Store {
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
	s, err := store.OpenWithin(config.Redis{
		Mode: config.Standalone, Addresses: []string{l.Addr().String()}, PasswordFile: password,
	}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestAcceptAndClose counts the connections to a listener that closes each one immediately, with or
// without a reply: new ones are delayed, however many commands are sent.
func TestAcceptAndClose(t *testing.T) {
	t.Parallel()
	// answers sends one reply to each command on a connection, and then closes it.
	answers := func(replies ...string) func(net.Conn) {
		return func(conn net.Conn) {
			defer conn.Close()
			buffer := make([]byte, 64<<10)
			for _, reply := range replies {
				if _, err := conn.Read(buffer); err != nil {
					return
				}
				if _, err := io.WriteString(conn, reply); err != nil {
					return
				}
			}
		}
	}
	sends := func(text string) func(net.Conn) {
		return func(conn net.Conn) { _, _ = io.WriteString(conn, text); conn.Close() }
	}
	const late = "a Redis that is full, late" // it executes no command
	const hello = "%1\r\n+proto\r\n:3\r\n"
	for name, handle := range map[string]func(net.Conn){
		"nothing":                        func(conn net.Conn) { conn.Close() },
		"one byte":                       sends("+"),
		"a Redis that is full":           sends("-ERR max number of clients reached\r\n"),
		late:                             answers("-ERR max number of clients reached\r\n"),
		"another protocol":               answers("HTTP/1.0 400 Bad Request\r\n\r\n"),
		"an error for HELLO":             answers("-ERR unknown command 'hello'\r\n"),
		"an error for HELLO, then ends":  answers("-ERR unknown command 'hello'\r\n", ""),
		"an answer to HELLO, then ends":  answers(hello, ""),
		"an answer to HELLO, and a byte": answers(hello, "$"),
		"an answer to HELLO, and errors": answers(hello, "-ERR no upstream host\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int64
			s := proxied(t, func(conn net.Conn) { connections.Add(1); handle(conn) }, config.File{})
			isSpaced(t, s, &connections, func(err error) bool { return name != late || store.NotExecuted(s.Counter, err) })
		})
	}
}

// isSpaced sends commands that must all fail, and counts the connections that are opened for them.
func isSpaced(t *testing.T, s *store.Store, connections *atomic.Int64, wanted func(error) bool) {
	t.Helper()
	began := time.Now()
	const commands = 300
	for range commands / 10 {
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := s.Counter.Get(t.Context(), "k").Err(); err == nil || errors.Is(err, redis.Nil) || !wanted(err) {
					t.Errorf("the command ends with %v", err)
				}
			})
		}
		all.Wait()
	}
	// For both clients: the connections that end before new ones are delayed, those that each end
	// makes outdated, and one each 100 ms.
	n := connections.Load()
	most := 2 * (2*64 + int64(time.Since(began)/(100*time.Millisecond)) + 1)
	if n > most {
		t.Errorf("%d connections for %d commands in %v, want at most %d", n, commands, time.Since(began), most)
	} else {
		t.Logf("%d connections for %d commands in %v", n, commands, time.Since(began))
	}
}

// TestWrongPasswordIsSpaced counts the connections that Redis refuses because of their password.
// The cause stays visible while new ones are delayed.
func TestWrongPasswordIsSpaced(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "open sesame")
	var connections atomic.Int64
	s := proxiedTo(t, server.Addr, &connections, config.InMemoryFile([]byte("open barley")))
	isSpaced(t, s, &connections, func(err error) bool {
		return redis.HasErrorPrefix(err, "WRONGPASS") && store.NotExecuted(s.Counter, err)
	})
	if got := s.Health(t.Context()).State; got != store.AuthFailed {
		t.Errorf("Redis is %s", got)
	}
}

// TestFullRedis checks a Redis that has reached its maxclients: new connections are delayed,
// existing ones stay in use, and new ones are opened when it accepts clients again.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	old, err := store.OpenWithin(config.Redis{Mode: config.Standalone, Addresses: []string{server.Addr}}, redistest.CommandTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Close)
	held := old.Counter.(*redis.Client).Conn()
	t.Cleanup(func() { held.Close() })
	if err := held.ConfigSet(t.Context(), "maxclients", "1").Err(); err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int64
	s := proxiedTo(t, server.Addr, &connections, config.File{})
	isSpaced(t, s, &connections, func(err error) bool { return !errors.As(err, new(redis.Error)) })
	if got := s.Health(t.Context()).State; got != store.Unreachable {
		t.Errorf("a full Redis is %s", got)
	}
	if err := held.ConfigSet(t.Context(), "maxclients", "1000").Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); s.Health(t.Context()).State != store.Usable; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a Redis that has room again is not used")
		}
	}
}

// TestRecoveryUnderLoad checks that a Redis that closed all connections is used as soon as it
// accepts them, even if commands are sent without a pause: the client library then often holds back
// new connections, until one that it opens and closes without a command shows that Redis accepts
// them.
func TestRecoveryUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var accepts atomic.Bool
	s := proxied(t, func(conn net.Conn) {
		if !accepts.Load() {
			conn.Close()
			return
		}
		forward(t, conn, server.Addr)
	}, config.File{})
	const callers = 200
	var failed atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range callers {
		all.Go(func() {
			for !errors.Is(s.Counter.Get(ctx, "k").Err(), redis.Nil) {
				failed.Add(1)
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	for failed.Load() < 100*callers && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	accepts.Store(true)
	all.Wait()
	if ctx.Err() != nil {
		t.Error("a Redis that accepts connections again is not used")
	}
}

// proxiedTo opens a Store on a proxy for a server, which counts its connections.
func proxiedTo(t *testing.T, addr string, connections *atomic.Int64, password config.File) *store.Store {
	t.Helper()
	return proxied(t, func(conn net.Conn) {
		connections.Add(1)
		forward(t, conn, addr)
	}, password)
}

// forward connects a connection to a server until one of them closes it.
func forward(t *testing.T, conn net.Conn, addr string) {
	defer conn.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, conn); to.Close() }()
	_, _ = io.Copy(conn, to)
}

// TestRetryOnDeadConnection counts how often a command is sent if its connections end before the
// response.
func TestRetryOnDeadConnection(t *testing.T) {
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
	}, config.File{})
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
	for range 20 { // later commands are not affected
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
