// Package store provides the Redis clients of the gateway, their timeouts, health checks and key
// names. cmd opens it. internal/unattended and internal/cache use its clients and names;
// internal/health and internal/telemetry use its checks and measurements.
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
	"ais-gateway/internal/store/send"
	"ais-gateway/internal/store/steps"
)

// Timeout is the maximum duration of connecting, and of a command whose context has no earlier
// deadline.
const Timeout = steps.Timeout

// Store has a separate client for each use of Redis, so that the counter does not wait for the
// cache's connections.
type Store struct {
	Counter  redis.UniversalClient // for unattended calls
	Cache    redis.UniversalClient // for account lists
	embedded *embedded             // nil except in mode embedded
	replicas int                   // required for each primary
}

// Open returns the clients for the configured mode, without waiting for their connections. In mode
// embedded it starts a Redis server in the process. The observers receive the result of every
// command.
func Open(c config.Redis, observers ...Observer) (*Store, error) {
	return OpenWithin(c, Timeout, observers...)
}

// OpenWithin is Open with another Timeout. Tests use it with a longer one for busy machines.
func OpenWithin(c config.Redis, timeout time.Duration, observers ...Observer) (*Store, error) {
	redis.SetLogger(discardLogger{})
	s := &Store{replicas: c.WaitReplicas}
	if c.Mode == config.Embedded {
		own, err := startEmbedded()
		if err != nil {
			return nil, fmt.Errorf("starting the embedded Redis: %w", err)
		}
		c.Addresses, s.embedded = []string{own.Addr()}, own
	}
	s.Counter, s.Cache = newClient(c, timeout, observers), newClient(c, timeout, observers)
	return s, nil
}

// Close closes all connections, and stops an embedded Redis, which loses its data.
func (s *Store) Close() {
	_ = s.Counter.Close()
	_ = s.Cache.Close()
	if s.embedded != nil {
		s.embedded.stop()
	}
}

func newClient(c config.Redis, timeout time.Duration, observers []Observer) redis.UniversalClient {
	options := &redis.UniversalOptions{
		Addrs:                 slices.Clone(c.Addresses), // the cluster client appends to it
		MasterName:            c.MasterName,
		IsClusterMode:         c.Mode == config.Cluster,
		Username:              c.Username,
		Password:              c.PasswordFile.Line(),
		SentinelUsername:      c.SentinelUsername,
		SentinelPassword:      c.SentinelPasswordFile.Line(),
		TLSConfig:             c.TLS.Client(),
		MaxRetries:            -1, // the callers decide about retries, because they know their deadline
		DialTimeout:           timeout,
		DialerRetries:         1,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		ContextTimeoutEnabled: true,
		PoolTimeout:           timeout,
		PoolSize:              poolSize,
		MaxIdleConns:          poolSize,
		MinIdleConns:          ReadyConns,
		PipelinePoolSize:      -1, // pipelines use the same connections
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
		DisableIdentity:       true,
		Protocol:              2, // pushes, which the gateway does not use, would be looked for before each reply
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.Mode == config.Cluster {
		return newClusterClient(options.Cluster(), observers)
	}
	rdb := redis.NewUniversalClient(options).(*redis.Client)
	send.Batch(rdb)
	for _, o := range observers {
		rdb.AddHook(metricsHook{o})
	}
	rdb.AddHook(&connections{})
	send.Resend(rdb)
	return rdb
}

// NotExecuted reports whether a failed command was certainly not executed and will not be: Redis
// refused it as a whole, or it could not be sent because no connection was available. It returns
// false for a cluster client, which retries commands itself, so that its error does not describe
// every attempt.
func NotExecuted(rdb redis.UniversalClient, err error) bool {
	if _, ok := rdb.(*redis.ClusterClient); ok {
		return false
	}
	var netErr *net.OpError
	switch {
	case errors.Is(err, send.ErrExecutedBefore):
		return false
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, errFull), errors.Is(err, steps.ErrNotSent):
		return true
	case errors.As(err, &netErr):
		return netErr.Op == "dial"
	}
	return slices.ContainsFunc(refusalPrefixes, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}

// refusalPrefixes start the error replies with which Redis refuses a whole command, or a script
// whose first command is a write.
var refusalPrefixes = []string{"READONLY", "OOM", "NOREPLICAS", "MISCONF", "NOSCRIPT", "LOADING", "NOAUTH", "WRONGPASS", "NOPERM"}

// ReadyConns is the number of idle connections that are kept open for each use and node. A request
// that has to wait for a new connection would often exceed its time limit for Redis.
const ReadyConns = 4

// poolSize is the maximum number of concurrent commands for each use and node. A command takes well
// under a millisecond.
const poolSize = 64

// bufferSize is the size of a connection's buffers. They are most of the heap under load.
const bufferSize = 16 << 10

// discardLogger drops log lines of the client library, which would write addresses to standard
// error. All errors are also returned to the callers, which log them.
type discardLogger struct{}

func (discardLogger) Printf(context.Context, string, ...any) {}
