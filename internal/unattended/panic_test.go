package unattended_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/config"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/unattended"
)

// A saboteur makes a few commands fail, and panics at the next one with a text that must not be
// logged.
type saboteur struct{ fails atomic.Int64 }

func (s *saboteur) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *saboteur) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error {
		if s.fails.Add(-1) < 0 {
			panic("Zerlinde Kanarienvogel")
		}
		return errors.New("lost")
	}
}

func (s *saboteur) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// lines is a log for concurrent writers.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestPanicsInTheBackground: a panic in a retried write is logged without its value and does not
// end the process.
func TestPanicsInTheBackground(t *testing.T) {
	call := unattended.Call{ASPSP: "a", Consent: "Zerlinde Kanarienvogel"}
	for name, do := range map[string]func(*unattended.Counter) error{
		"release": func(c *unattended.Counter) error { _, err := c.Take(t.Context(), call, time.Second); return err },
		"block":   func(c *unattended.Counter) error { _, err := c.Block(t.Context(), call, time.Minute); return err },
	} {
		t.Run(name, func(t *testing.T) {
			was, out := slog.Default(), &lines{}
			t.Cleanup(func() { slog.SetDefault(was) })
			slog.SetDefault(slog.New(slog.NewJSONHandler(out, nil)))
			rdb := redis.NewClient(&redis.Options{Addr: redistest.Shared(t), MaxRetries: -1})
			t.Cleanup(func() { rdb.Close() })
			hook := &saboteur{}
			hook.fails.Store(1)
			rdb.AddHook(hook)
			c := unattended.New(rdb, map[string]config.Unattended{"a": {Limit: 4, Window: time.Hour, Unit: config.UnitConsent}}).Within(redistest.CommandTimeout)
			if do(c) == nil {
				t.Error("the step has not failed")
			}
			for deadline := time.Now().Add(patience); !strings.Contains(out.String(), `"msg":"panic"`); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no panic is logged")
				}
			}
			if got := out.String(); strings.Contains(got, "Kanarienvogel") || !strings.Contains(got, "pending.go") {
				t.Errorf("logged %s", got)
			}
		})
	}
}
