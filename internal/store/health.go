package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	Usable      State = "ok"
	Unreachable State = "unreachable"
	ReadOnly    State = "read_only"        // a replica
	OutOfMemory State = "out_of_memory"    // used memory is above maxmemory, and nothing may be evicted
	FewReplicas State = "too_few_replicas" // than redis.waitReplicas wants
	NoWrites    State = "refuses_writes"   // for another reason, such as a disk that is full
)

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
		if slices.Index(badness, h.State) > slices.Index(badness, worst.State) {
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
	h := Health{State: stateOf(probe(ctx, node))}
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

// badness is the order of states, the worst last.
var badness = []State{Usable, FewReplicas, NoWrites, OutOfMemory, ReadOnly, Unreachable}

// probe sends a command that writes, and finds nothing to change. A node of a cluster takes it for some keys only.
func probe(ctx context.Context, node *redis.Client) (err error) {
	for i := range 1000 {
		err = node.ZAddXX(ctx, Prefix("health", strconv.Itoa(i))+"probe", redis.Z{Member: "-"}).Err()
		_, moved := redis.IsMovedError(err)
		_, moving := redis.IsAskError(err)
		if !moved && !moving && !redis.IsTryAgainError(err) {
			return err
		}
	}
	return err
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
	case redis.IsClusterDownError(err), redis.IsLoadingError(err), redis.IsMasterDownError(err), !errors.As(err, &said):
		return Unreachable
	}
	return NoWrites
}
