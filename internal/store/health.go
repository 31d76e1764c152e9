package store

import (
	"context"
	"errors"
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
	ReadOnly    State = "read_only"      // a replica
	OutOfMemory State = "out_of_memory"  // used memory is above maxmemory, and nothing may be evicted
	NoWrites    State = "refuses_writes" // for another reason, such as a disk that is full or replicas that are missing
)

// NoEviction is the one policy under which Redis forgets no slot.
const NoEviction = "noeviction"

// Evicts reports whether Redis may drop keys to make room, slots among them. Each of its other policies can: all of
// the gateway's keys expire, and so are volatile too.
func (h Health) Evicts() bool { return h.Policy != "" && h.Policy != NoEviction }

// Health asks Redis for its state and its policy, of each primary in a cluster, and changes nothing there.
func (s *Store) Health(ctx context.Context) Health {
	// A command that writes, and finds nothing to change.
	probe := s.Counter.ZAddXX(ctx, Prefix("health")+"probe", redis.Z{Member: "-"}).Err()
	if s.own != nil {
		return Health{stateOf(probe), NoEviction}
	}
	policy, err := s.policy(ctx)
	if probe == nil {
		probe = err
	}
	return Health{stateOf(probe), policy}
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

// policy reads maxmemory_policy from INFO, which managed services allow where they forbid CONFIG. Of several
// primaries it is one that evicts, if there is any. A Redis that does not let INFO be read says nothing.
func (s *Store) policy(ctx context.Context) (string, error) {
	var mu sync.Mutex
	var policy string
	read := func(ctx context.Context, node *redis.Client) error {
		info, err := node.Info(ctx, "memory").Result()
		var said redis.Error
		if errors.As(err, &said) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		for line := range strings.Lines(info) {
			if found, ok := strings.CutPrefix(line, "maxmemory_policy:"); ok && (policy == "" || policy == NoEviction) {
				policy = strings.TrimSpace(found)
			}
		}
		return err
	}
	var err error
	switch rdb := s.Counter.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(ctx, read)
	case *redis.Client:
		err = read(ctx, rdb)
	}
	return policy, err
}
