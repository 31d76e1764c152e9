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

// Health is the result of a health check of Redis.
type Health struct {
	State  State
	Policy string // the maxmemory-policy; "" if Redis does not report it
}

// State is whether Redis can be used, or why not.
type State string

// The states of Redis. In all states except Usable, unattended calls cannot be counted and are not
// made.
const (
	Usable       State = "ok"
	Unreachable  State = "unreachable"
	AuthFailed   State = "auth_failed"      // wrong or missing credentials
	NoPermission State = "no_permission"    // the user lacks permission for a command or for the gateway's keys
	ReadOnly     State = "read_only"        // the server is a replica
	OutOfMemory  State = "out_of_memory"    // used memory is above maxmemory, and keys may not be evicted
	FewReplicas  State = "too_few_replicas" // fewer replicas are connected than redis.waitReplicas
	NoWrites     State = "refuses_writes"   // writes fail for another reason, for example a full disk
)

// States returns all states in order of severity, the worst last. Health reports the worst state of
// several nodes.
func States() []State {
	return []State{Usable, FewReplicas, NoWrites, OutOfMemory, ReadOnly, NoPermission, AuthFailed, Unreachable}
}

// NoEviction is the only policy under which Redis never drops a slot.
const NoEviction = "noeviction"

// Evicts reports whether Redis may drop keys, including slots, to free memory. All policies except
// NoEviction can, because all keys of the gateway have an expiry.
func (h Health) Evicts() bool { return h.Policy != "" && h.Policy != NoEviction }

// Health checks Redis, each primary of a cluster, without changing data. It returns the worst state
// of all primaries, and a policy that evicts if any primary has one.
func (s *Store) Health(ctx context.Context) Health {
	if s.embedded != nil {
		return Health{stateOf(s.Counter.Ping(ctx).Err()), NoEviction}
	}
	var mu sync.Mutex
	worst := Health{State: Usable}
	check := func(ctx context.Context, node *redis.Client) error {
		h := s.nodeHealth(ctx, node)
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
		err = rdb.ForEachMaster(ctx, check)
		if err == nil { // ForEachMaster leaves out primaries that are no longer in the slot table
			err = rdb.ZAddXX(ctx, Prefix("health"), redis.Z{Member: "-"}).Err()
		}
	case *redis.Client:
		err = check(ctx, rdb)
	}
	if worst.State == Usable {
		worst.State = stateOf(err)
	}
	return worst
}

// nodeHealth checks one primary.
func (s *Store) nodeHealth(ctx context.Context, node *redis.Client) Health {
	h := Health{State: stateOf(s.probe(ctx, node))}
	info, err := node.Info(ctx, "memory").Result() // managed services allow INFO even if they forbid CONFIG
	h.Policy = infoField(info, "maxmemory_policy")
	if h.State == Usable && s.replicas > 0 && err == nil {
		info, err = node.Info(ctx, "replication").Result()
		if n, _ := strconv.Atoi(infoField(info, "connected_slaves")); err == nil && n < s.replicas {
			h.State = FewReplicas
		}
	}
	var reply redis.Error
	if h.State == Usable && err != nil && !errors.As(err, &reply) { // without permission for INFO, only the policy is unknown
		h.State = Unreachable
	}
	return h
}

// infoField returns the value of a field of INFO's reply, "" if it is missing.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// probe runs every command that the gateway needs on a key that never exists, so that nothing
// changes. It returns the first error.
func (s *Store) probe(ctx context.Context, node *redis.Client) error {
	key, err := findLocalKey(ctx, node)
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

// findLocalKey returns the name of a key that the node serves, because a node of a cluster serves
// only some keys. It tries names with a write that changes nothing, and returns the error of the
// last one.
func findLocalKey(ctx context.Context, node *redis.Client) (key string, err error) {
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
	var reply redis.Error
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
	case redis.IsClusterDownError(err), redis.IsLoadingError(err), redis.IsMasterDownError(err), !errors.As(err, &reply):
		return Unreachable
	}
	return NoWrites
}
