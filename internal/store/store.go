// Package store is Redis as the gateway uses it: the clients, how long they wait, and how keys are named. The
// counter and the cache stand on it, cmd opens it.
package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ais-gateway/internal/config"
)

// Timeout bounds the setting up of one connection, for which a request may give up waiting earlier, and commands whose
// context has no earlier end.
const Timeout = time.Second

// A Store is a connection to Redis for each of its uses, so that neither waits for the other's.
type Store struct {
	Counter  redis.UniversalClient // of unattended calls
	Cache    redis.UniversalClient // of account lists
	own      *embedded             // nil unless the Redis is one in the process
	replicas int                   // that each primary must have
}

// Open makes the clients for the configured form of Redis, and does not wait for their connections. In mode
// embedded it starts a Redis of its own in the process. Observers are told of every command.
func Open(c config.Redis, observers ...Observer) (*Store, error) {
	return OpenWithin(c, Timeout, observers...)
}

// OpenWithin is Open with another Timeout: tests are patient with a busy machine.
func OpenWithin(c config.Redis, timeout time.Duration, observers ...Observer) (*Store, error) {
	redis.SetLogger(silent{})
	s := &Store{replicas: c.WaitReplicas}
	if c.Mode == config.Embedded {
		own, err := startEmbedded()
		if err != nil {
			return nil, fmt.Errorf("starting the embedded Redis: %w", err)
		}
		c.Addresses, s.own = []string{own.Addr()}, own
	}
	s.Counter, s.Cache = client(c, timeout, observers), client(c, timeout, observers)
	return s, nil
}

// Close ends all connections, and an embedded Redis with all that it holds.
func (s *Store) Close() {
	_ = s.Counter.Close()
	_ = s.Cache.Close()
	if s.own != nil {
		s.own.stop()
	}
}

func client(c config.Redis, timeout time.Duration, observers []Observer) redis.UniversalClient {
	options := &redis.UniversalOptions{
		Addrs:                 slices.Clone(c.Addresses), // a cluster's client appends to it
		MasterName:            c.MasterName,
		IsClusterMode:         c.Mode == config.Cluster,
		Username:              c.Username,
		Password:              c.PasswordFile.Line(),
		SentinelUsername:      c.SentinelUsername,
		SentinelPassword:      c.SentinelPasswordFile.Line(),
		TLSConfig:             c.TLS.Client(),
		MaxRetries:            -1, // whoever is short of time decides whether to try again
		DialTimeout:           timeout,
		DialerRetries:         1,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		ContextTimeoutEnabled: true,
		PoolTimeout:           timeout,
		PoolSize:              poolSize,
		MaxIdleConns:          poolSize,
		MinIdleConns:          readyConns,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.Mode == config.Cluster {
		return clusterClient(options.Cluster(), observers)
	}
	rdb := redis.NewUniversalClient(options)
	for _, o := range observers {
		rdb.AddHook(observed{o})
	}
	rdb.AddHook(&connections{})
	rdb.AddHook(again{})
	return rdb
}

// Unmade reports whether a command of a single server's client that failed was surely not carried out, and will not be:
// Redis refused it as a whole, or there was no connection to send it on. Any other may have been, or still be on its
// way. A cluster's client tries again by itself, and so its errors say nothing.
func NotExecuted(rdb redis.UniversalClient, err error) bool {
	if _, ok := rdb.(*redis.ClusterClient); ok {
		return false
	}
	var lost *net.OpError
	switch {
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, errFull):
		return true
	case errors.As(err, &lost):
		return lost.Op == "dial"
	}
	return slices.ContainsFunc(refusals, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}

// refusals are how Redis begins to say that it carries out nothing of a command, or of a script that begins with one
// that writes.
var refusals = []string{"READONLY", "OOM", "NOREPLICAS", "MISCONF", "NOSCRIPT", "LOADING", "NOAUTH", "WRONGPASS", "NOPERM"}

// readyConns are kept open in the background, for each use and node: a request that had to wait for the setting up
// of a connection besides would often have no time left for what it came for.
const readyConns = 4

// poolSize is how many requests may be in Redis at once, for each use and node. A step takes well under a
// millisecond there.
const poolSize = 64

// silent drops what the client library would write to standard error, addresses included: every failure comes back
// to the one who asked, and is told there.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
