package send_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/crashproxy"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/store"
	"ais-gateway/internal/store/send"
)

var echo = redis.NewScript("return ARGV[1]")

// pipelines records the lengths of a client's pipelines, and counts its other scripts. Before each one it calls before, if
// that is set.
type pipelines struct {
	mu      sync.Mutex
	lengths []int
	singles int
	before  func()
}

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			p.mu.Lock()
			p.singles++
			p.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		p.mu.Lock()
		p.lengths = append(p.lengths, len(cmds))
		p.mu.Unlock()
		if p.before != nil {
			p.before()
		}
		return next(ctx, cmds)
	}
}

// openCounted returns a store of the Redis at addr, and its client for the cache with the record of
// its pipelines.
func openCounted(t *testing.T, addr string) (*store.Store, *redis.Client, *pipelines) {
	t.Helper()
	s := redistest.OpenAt(t, addr)
	rdb := s.Cache.(*redis.Client)
	if err := echo.Load(t.Context(), rdb).Err(); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "no connection is opened in the background", func() bool { return rdb.PoolStats().IdleConns >= store.ReadyConns })
	count := &pipelines{}
	rdb.AddHook(count)
	return s, rdb, count
}

// run runs a command, and returns a channel that gets its error.
func run(ctx context.Context, rdb *redis.Client, cmd redis.Cmder) <-chan error {
	result := make(chan error, 1)
	go func() { result <- rdb.Process(ctx, cmd) }()
	return result
}

func command(ctx context.Context, args ...any) *redis.Cmd { return redis.NewCmd(ctx, args...) }

// TestBatch: the scripts of a batch are sent together, and each has its own result or error. A
// batch has a maximum length.
func TestBatch(t *testing.T) {
	t.Parallel()
	_, rdb, count := openCounted(t, redistest.Start(t).Addr)
	ctx := t.Context()
	cmds := []*redis.Cmd{
		command(ctx, "evalsha", echo.Hash(), 0, "a"),
		command(ctx, "evalsha", strings.Repeat("0", 40), 0),
		command(ctx, "eval", "return redis.error_reply('OWN error')", 0),
		command(ctx, "eval", "return false", 0),
		command(ctx, "evalsha", echo.Hash(), 0, "b"),
	}
	send.SendTogether(rdb, cmds)
	if cmds[0].Val() != "a" || cmds[4].Val() != "b" || !redis.HasErrorPrefix(cmds[1].Err(), "NOSCRIPT") ||
		!redis.HasErrorPrefix(cmds[2].Err(), "OWN") || !errors.Is(cmds[3].Err(), redis.Nil) {
		t.Errorf("results: %v", cmds)
	}
	var many []*redis.Cmd
	for i := range 2*send.MaxBatch + 1 {
		many = append(many, command(ctx, "evalsha", echo.Hash(), 0, fmt.Sprint(i)))
	}
	send.SendTogether(rdb, many)
	for i, cmd := range many {
		if cmd.Val() != fmt.Sprint(i) {
			t.Errorf("result %d: %v", i, cmd)
		}
	}
	if got := fmt.Sprint(count.lengths, count.singles); got != fmt.Sprint([]int{5, send.MaxBatch, send.MaxBatch}, 1) {
		t.Errorf("pipelines and single commands: %s", got)
	}
}

// TestConcurrentScripts: concurrent requests all get their own results, in whatever batches.
func TestConcurrentScripts(t *testing.T) {
	t.Parallel()
	_, rdb, _ := openCounted(t, redistest.Start(t).Addr)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 50 {
				want := fmt.Sprint(i, j)
				if got, err := echo.Run(t.Context(), rdb, nil, want).Text(); got != want || err != nil {
					t.Errorf("%q, %v instead of %q", got, err, want)
				}
			}
		})
	}
	all.Wait()
}

// TestScriptOfARequestThatLeft: a request that no longer waits for its script gets its context's
// error. The script is executed, and its connection stays open.
func TestScriptOfARequestThatLeft(t *testing.T) {
	t.Parallel()
	proxy := crashproxy.New(t).NewProxy(redistest.Start(t).Addr)
	s, rdb, _ := openCounted(t, proxy.Addr)
	ctx, leave := context.WithCancel(t.Context())
	pass := proxy.Hold()
	done := make(chan error, 1)
	go func() { done <- redis.NewScript("return redis.call('SET', 'late', '1')").Eval(ctx, rdb, nil).Err() }()
	gatewaytest.Eventually(t, "the script is sent", func() bool { return proxy.Holding() > 0 })
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) || store.NotExecuted(rdb, err) {
		t.Errorf("the script of a request that leaves: %v", err)
	}
	pass()
	gatewaytest.Eventually(t, "the script is executed", func() bool { return rdb.Exists(t.Context(), "late").Val() == 1 })
	gatewaytest.Eventually(t, "all connections that were opened are open", func() bool {
		return proxy.Accepted() == int(s.Cache.PoolStats().TotalConns+s.Counter.PoolStats().TotalConns)
	})
}

// TestWaitingScripts: while as many batches as possible are sent, further scripts wait, and are sent
// together later. Those whose requests have left by then are not sent.
func TestWaitingScripts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := crashproxy.New(t).NewProxy(server.Addr)
	_, rdb, count := openCounted(t, proxy.Addr)
	b, before, release := send.NewBatches(rdb), server.Calls("evalsha"), proxy.Hold()
	ctx, leave := context.WithCancel(t.Context())
	var results, left []<-chan error
	for i := range send.MaxSending {
		results = append(results, b.Run(t.Context(), command(t.Context(), "evalsha", echo.Hash(), 0, "sent")))
		gatewaytest.Eventually(t, "a script is sent", func() bool { return proxy.Holding() == i+1 })
	}
	for i := range 10 {
		results = append(results, b.Run(t.Context(), command(t.Context(), "evalsha", echo.Hash(), 0, "waits")))
		left = append(left, b.Run(ctx, command(ctx, "evalsha", echo.Hash(), 0, "leaves")))
		gatewaytest.Eventually(t, "the scripts wait", func() bool { return b.Waiting() == 2*(i+1) })
	}
	leave()
	for _, result := range left {
		if err := <-result; !errors.Is(err, context.Canceled) || !store.NotExecuted(rdb, err) {
			t.Errorf("the error of a request that left: %v", err)
		}
	}
	release()
	for _, result := range results {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	if n := server.Calls("evalsha") - before; n != send.MaxSending+10 || !slices.Equal(count.lengths, []int{10}) || count.singles != send.MaxSending {
		t.Errorf("%d scripts executed, batches of %v, %d alone", n, count.lengths, count.singles)
	}
}

// TestLostBatch: a batch whose connection is lost is sent again. A script for which that fails too
// has the error of the first attempt, because it may have been executed then.
func TestLostBatch(t *testing.T) {
	t.Parallel()
	for _, recovers := range []bool{true, false} {
		proxy := crashproxy.New(t).NewProxy(redistest.Start(t).Addr)
		_, rdb, _ := openCounted(t, proxy.Addr)
		cmds := []*redis.Cmd{
			command(t.Context(), "evalsha", echo.Hash(), 0, "a"),
			command(t.Context(), "eval", "return redis.error_reply('OOM not executed')", 0),
			command(t.Context(), "evalsha", echo.Hash(), 0, "b"),
		}
		pass, done := proxy.Hold(), make(chan struct{})
		go func() {
			defer close(done)
			send.SendTogether(rdb, cmds)
		}()
		gatewaytest.Eventually(t, "the batch is sent", func() bool { return proxy.Holding() > 0 })
		if !recovers {
			proxy.Refuse()
		}
		proxy.Cut()
		pass()
		<-done
		for i, want := range []string{"a", "", "b"} {
			if recovers && want != "" {
				if cmds[i].Err() != nil || cmds[i].Val() != want {
					t.Errorf("%v after the connection was lost", cmds[i])
				}
			} else if !errors.Is(cmds[i].Err(), io.EOF) && !errors.Is(cmds[i].Err(), syscall.ECONNRESET) {
				t.Errorf("recovers %t: the error of a script that may have been executed: %v", recovers, cmds[i].Err())
			}
		}
	}
}

// lostReplies returns a hook that loses the replies to a client's first pipeline after the first one,
// makes all later pipelines fail, and counts them.
func lostReplies(pipelines *int) redis.Hook {
	return redistest.Hook{Pipeline: func(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
		lost := cmds
		if *pipelines++; *pipelines == 1 {
			if err := next(ctx, cmds); err != nil {
				return err
			}
			lost = cmds[1:]
		}
		for _, cmd := range lost {
			cmd.SetErr(io.EOF)
		}
		return io.EOF
	}}
}

// TestPartOfABatchIsLost: a script whose reply has arrived keeps it if the connection is lost before
// those of others, and the second attempt of the batch fails.
func TestPartOfABatchIsLost(t *testing.T) {
	t.Parallel()
	_, rdb, _ := openCounted(t, redistest.Start(t).Addr)
	pipelines := 0
	rdb.AddHook(lostReplies(&pipelines))
	cmds := []*redis.Cmd{command(t.Context(), "evalsha", echo.Hash(), 0, "a"), command(t.Context(), "evalsha", echo.Hash(), 0, "b")}
	send.SendTogether(rdb, cmds)
	if cmds[0].Err() != nil || cmds[0].Val() != "a" || !errors.Is(cmds[1].Err(), io.EOF) || pipelines != 2 {
		t.Errorf("%v after %d attempts", cmds, pipelines)
	}
}

// TestCloseWithWaitingScripts: scripts whose results are not there when their client is closed fail,
// alone or in a batch.
func TestCloseWithWaitingScripts(t *testing.T) {
	t.Parallel()
	proxy := crashproxy.New(t).NewProxy(redistest.Start(t).Addr)
	s, rdb, _ := openCounted(t, proxy.Addr)
	defer proxy.Hold()()
	cmds := []*redis.Cmd{command(t.Context(), "evalsha", echo.Hash(), 0, "a"), command(t.Context(), "evalsha", echo.Hash(), 0, "b")}
	var all sync.WaitGroup
	all.Go(func() { send.SendTogether(rdb, cmds) })
	alone := run(t.Context(), rdb, command(t.Context(), "evalsha", echo.Hash(), 0, "c"))
	gatewaytest.Eventually(t, "all scripts are sent", func() bool { return proxy.Holding() == 2 })
	s.Close()
	all.Wait()
	for _, err := range []error{<-alone, cmds[0].Err(), cmds[1].Err()} {
		if !errors.Is(err, redis.ErrClosed) && !send.ConnLost(err) {
			t.Errorf("the error of a script of a closed client: %v", err)
		}
	}
}

// TestPanicOfABatch: a panic while a batch is sent is the error of its scripts.
func TestPanicOfABatch(t *testing.T) {
	t.Parallel()
	_, rdb, count := openCounted(t, redistest.Start(t).Addr)
	var panics atomic.Int64
	count.before = func() {
		panics.Add(1)
		panic("x")
	}
	cmds := []*redis.Cmd{command(t.Context(), "evalsha", echo.Hash(), 0, "a"), command(t.Context(), "evalsha", echo.Hash(), 0, "b")}
	send.SendTogether(rdb, cmds)
	if panics.Load() != 1 || cmds[0].Err() == nil || cmds[1].Err() == nil {
		t.Errorf("%d panics: %v", panics.Load(), cmds)
	}
}
