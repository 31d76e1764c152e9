package redistest

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// says fails the test unless the server answers with want.
func says(t *testing.T, s *Server, want string, command ...any) {
	t.Helper()
	if got, err := s.Do(command...).Text(); err != nil || got != want {
		t.Fatalf("%v: got %q, %v, want %q", command, got, err, want)
	}
}

func role(t *testing.T, s *Server) string {
	t.Helper()
	answer, err := s.Do("ROLE").Slice()
	if err != nil {
		t.Fatal(err)
	}
	return answer[0].(string)
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t, "--maxmemory", "64mb")
	first := s.Primary()
	if got := len(s.Replicas()); got != replicas || slices.Contains(s.Replicas(), first) {
		t.Fatalf("got %d replicas, the primary perhaps among them", got)
	}
	if len(s.Addrs) != sentinels || len(s.Watchers) != sentinels {
		t.Fatalf("got %d sentinels on %v", len(s.Watchers), s.Addrs)
	}
	for _, watcher := range s.Watchers {
		if answer, err := watcher.Do("SENTINEL", "CKQUORUM", s.MasterName).Text(); err != nil {
			t.Errorf("%s, %v", answer, err)
		}
	}
	says(t, first, "OK", "SET", "k", "v")
	if n, err := first.Do("WAIT", replicas, 5000).Int(); err != nil || n != replicas {
		t.Fatalf("%d replicas have the value, %v", n, err)
	}
	for _, replica := range s.Replicas() {
		says(t, replica, "v", "GET", "k")
		if err := replica.Do("SET", "k", "w").Err(); !redis.HasErrorPrefix(err, "READONLY") {
			t.Errorf("a replica answers a write with %v", err)
		}
	}
	for _, server := range append(s.Replicas(), first) {
		if got, err := server.Do("CONFIG", "GET", "maxmemory").Result(); err != nil || got.(map[any]any)["maxmemory"] != "67108864" {
			t.Errorf("a server runs with %v, %v", got, err)
		}
	}
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs})
	defer client.Close()
	if got, err := client.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("by way of the sentinels: %q, %v", got, err)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	first := s.Primary()
	says(t, first, "OK", "SET", "k", "v")
	if n, err := first.Do("WAIT", replicas, 5000).Int(); err != nil || n != replicas {
		t.Fatalf("%d replicas have the value, %v", n, err)
	}

	first.Stop()
	began := time.Now()
	second := s.AwaitPrimary(first)
	t.Logf("failover after a crash: %v", time.Since(began))
	if second == first || s.Primary() != second || role(t, second) != "master" || !slices.Contains(s.Replicas(), first) {
		t.Fatal("nobody took over")
	}
	says(t, second, "v", "GET", "k")
	says(t, second, "OK", "SET", "k", "w")

	first.Restart()
	s.AwaitReplicas()
	if role(t, first) != "slave" || s.Primary() != second {
		t.Fatal("who was primary before is not a replica")
	}
	says(t, first, "w", "GET", "k")
	first.Restart()
	if role(t, first) != "slave" {
		t.Fatal("a former primary has forgotten over a restart that it is a replica")
	}
	s.AwaitReplicas()

	s.Watchers[0].Stop()
	second.Pause()
	began = time.Now()
	third := s.AwaitPrimary(second)
	t.Logf("failover after a freeze, by two sentinels: %v", time.Since(began))
	says(t, third, "w", "GET", "k")
	second.Resume()
	s.Watchers[0].Restart()
	s.AwaitReplicas()
	if role(t, second) != "slave" || s.Primary() != third {
		t.Fatal("who was frozen is not a replica")
	}
}

func TestSentinelWaits(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	if _, err := s.awaitPrimary(s.Primary(), 200*time.Millisecond); err == nil {
		t.Error("a failover is seen where none was")
	}
	says(t, s.Primary(), "OK", "CONFIG", "SET", "min-replicas-to-write", replicas+1)
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := s.awaitPrimary(s.Replicas()[0], 200*time.Millisecond)
		if redis.HasErrorPrefix(err, "NOREPLICAS") {
			break
		}
		if err == nil || time.Now().After(deadline) { // another error is one of a machine that is too busy
			t.Fatalf("a primary that refuses writes is waited for with %v", err)
		}
	}
	says(t, s.Primary(), "OK", "CONFIG", "SET", "min-replicas-to-write", 0)
	if got := s.AwaitPrimary(s.Replicas()[0]); got != s.Primary() {
		t.Error("another than the primary is named")
	}
	replica, other := s.Replicas()[0], s.Replicas()[1]
	if checkReplica(replica, s.Primary()) != nil || checkReplica(replica, other) == nil {
		t.Error("it is not seen whom a replica follows")
	}
	if checkPrimary(s.Primary(), replicas) != nil || checkPrimary(s.Primary(), replicas+1) == nil {
		t.Error("it is not seen how many replicas a primary has")
	}
	if watcher := s.Watchers[0]; s.checkSentinel(watcher, s.Replicas()) != nil || s.checkSentinel(watcher, []*Server{s.Primary()}) == nil {
		t.Error("it is not seen which replicas a sentinel knows")
	}
	replica.Stop()
	s.AwaitReplicas() // of those that run
	replica.Restart()
	if role(t, replica) != "slave" {
		t.Error("a replica has forgotten over a restart that it is one")
	}
	s.AwaitReplicas()
	says(t, replica, "OK", "REPLICAOF", "NO", "ONE")
	if s.ready() == nil {
		t.Error("a server that follows nobody is taken for a replica")
	}
	s.AwaitReplicas()
	if role(t, replica) != "slave" {
		t.Error("it was not made a replica again")
	}
	s.Primary().Pause()
	if s.ready() == nil {
		t.Error("a primary that answers nothing is taken to feed its replicas")
	}
}
