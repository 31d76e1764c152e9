package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Health is what Redis says of itself, as far as the gateway depends on it.
type Health struct {
	State  State
	Policy string // its maxmemory-policy; "" where it does not say
}

// State says whether Redis can be used.
type State string

// The states of Redis. In all but the first, unattended calls cannot be counted and so are not made.
const (
	Usable       State = "ok"
	Unreachable  State = "unreachable"
	AuthFailed   State = "auth_failed"      // wrong or missing credentials
	NoPermission State = "no_permission"    // the user may not run a command that the gateway needs, or on its keys
	ReadOnly     State = "read_only"        // a replica
	OutOfMemory  State = "out_of_memory"    // used memory is above maxmemory, and nothing may be evicted
	FewReplicas  State = "too_few_replicas" // than redis.waitReplicas wants
	NoWrites     State = "refuses_writes"   // for another reason, such as a disk that is full
)

// States returns all states, the worst last: of several nodes, the worst counts.
func States() []State {
	return []State{Usable, FewReplicas, NoWrites, OutOfMemory, ReadOnly, NoPermission, AuthFailed, Unreachable}
}

// NoEviction is the one policy under which Redis forgets no slot.
const NoEviction = "noeviction"

// Evicts reports whether Redis may drop keys to make room, slots among them. Each of its other policies can: all of
// the gateway's keys expire, and so are volatile too.
func (h Health) Evicts() bool { return h.Policy != "" && h.Policy != NoEviction }

// Health asks Redis for its state and its policy, each primary of a cluster, and changes nothing there. Of several it is
// the worst.
func (s *Store) Health(ctx context.Context) Health {
	if s.own != nil {
		return Health{stateOf(s.Counter.Ping(ctx).Err()), NoEviction}
	}
	var mu sync.Mutex
	worst := Health{State: Usable}
	look := func(ctx context.Context, node *redis.Client) error {
		h := s.node(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		if slices.Index(States(), h.State) > slices.Index(States(), worst.State) {
			worst.State = h.State
		}
		if h.Policy != "" && (worst.Policy == "" || worst.Policy == NoEviction) {
			worst.Policy = h.Policy
		}
		return nil
	}
	var err error
	switch rdb := s.Counter.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(ctx, look)
		if err == nil { // a primary that nobody knows of any more is not among them
			err = rdb.ZAddXX(ctx, Prefix("health"), redis.Z{Member: "-"}).Err()
		}
	case *redis.Client:
		err = look(ctx, rdb)
	}
	if worst.State == Usable {
		worst.State = stateOf(err)
	}
	return worst
}

// node is the health of one primary.
func (s *Store) node(ctx context.Context, node *redis.Client) Health {
	h := Health{State: stateOf(s.probe(ctx, node))}
	info, err := node.Info(ctx, "memory").Result() // which managed services allow where they forbid CONFIG
	h.Policy = field(info, "maxmemory_policy")
	if h.State == Usable && s.replicas > 0 && err == nil {
		info, err = node.Info(ctx, "replication").Result()
		if n, _ := strconv.Atoi(field(info, "connected_slaves")); err == nil && n < s.replicas {
			h.State = FewReplicas
		}
	}
	var said redis.Error
	if h.State == Usable && err != nil && !errors.As(err, &said) { // one that may not be asked says nothing
		h.State = Unreachable
	}
	return h
}

// field is a line of what INFO says.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// probe runs every command that the gateway needs, without effect: on a key that is never there.
func (s *Store) probe(ctx context.Context, node *redis.Client) error {
	key, err := ownKey(ctx, node)
	if err != nil {
		return err
	}
	const script = "return 1"
	pipe := node.Pipeline()
	pipe.Eval(ctx, script, []string{key})
	pipe.EvalSha(ctx, redis.NewScript(script).Hash(), []string{key})
	pipe.Time(ctx)
	pipe.Get(ctx, key)
	pipe.MGet(ctx, key)
	pipe.SetXX(ctx, key, "", time.Second)
	pipe.PTTL(ctx, key)
	pipe.PExpire(ctx, key, time.Second)
	pipe.Del(ctx, key)
	pipe.ZCount(ctx, key, "0", "0")
	pipe.ZScore(ctx, key, "-")
	pipe.ZRevRange(ctx, key, 0, 0)
	pipe.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: "0", Max: "0"})
	pipe.ZRem(ctx, key, "-")
	pipe.ZRemRangeByScore(ctx, key, "0", "0")
	pipe.ZRemRangeByRank(ctx, key, 0, 0)
	if s.replicas > 0 {
		pipe.Do(ctx, "wait", 0, 0)
	}
	cmds, err := pipe.Exec(ctx)
	for _, cmd := range cmds {
		if failure := cmd.Err(); failure != nil && !errors.Is(failure, redis.Nil) {
			return failure
		}
	}
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// ownKey returns the name of a key that a node has: a node of a cluster has some keys only. To find it, it sends a command
// that writes and finds nothing to change.
func ownKey(ctx context.Context, node *redis.Client) (key string, err error) {
	for i := range 1000 {
		key = Prefix("health", strconv.Itoa(i)) + "probe"
		err = node.ZAddXX(ctx, key, redis.Z{Member: "-"}).Err()
		_, moved := redis.IsMovedError(err)
		_, moving := redis.IsAskError(err)
		if !moved && !moving && !redis.IsTryAgainError(err) {
			return key, err
		}
	}
	return key, err
}

func stateOf(err error) State {
	var said redis.Error
	switch {
	case err == nil:
		return Usable
	case redis.IsReadOnlyError(err):
		return ReadOnly
	case redis.IsOOMError(err):
		return OutOfMemory
	case redis.HasErrorPrefix(err, "NOPERM"):
		return NoPermission
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		return AuthFailed
	case redis.IsClusterDownError(err), redis.IsLoadingError(err), redis.IsMasterDownError(err), !errors.As(err, &said):
		return Unreachable
	}
	return NoWrites
}
