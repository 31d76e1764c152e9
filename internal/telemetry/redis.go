package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"
)

// What may be told of a command to Redis: those that the gateway sends, and how they may fail.
var (
	commands = []string{
		"CLUSTER", "DEL", "EVAL", "EVALSHA", "GET", "HELLO", "INFO", "PING", "PIPELINE", "SET", "ZADD", "ZREM",
	}
	commandFaults = []string{
		"canceled", "cluster_down", "loading", "moved", "noauth", "noperm", "noreplicas", "noscript", "oom", "other", "readonly", "timeout", "unreachable",
	}
)

// commandBuckets suit answers of some tenths of a millisecond, and end where commands do; in seconds.
var commandBuckets = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1}

func (t *Telemetry) commands(m metric.Meter) error {
	duration, err := dbconv.NewClientOperationDuration(m, metric.WithExplicitBucketBoundaries(commandBuckets...))
	t.inst.commandDuration = duration.Inst()
	return err
}

// Command tells of one command to Redis, or of several that were sent together (PIPELINE): its name, the kind of its failure
// ("" for none), and how long it took, with all tries.
func (t *Telemetry) Command(ctx context.Context, name, fault string, took time.Duration) {
	attrs := append(given(semconv.ErrorTypeKey, fault), semconv.DBSystemNameRedis, semconv.DBOperationName(oneOf(commands, name)))
	if fault != "" && !slices.Contains(commandFaults, fault) {
		attrs[0] = semconv.ErrorTypeOther
	}
	t.inst.commandDuration.Record(ctx, took.Seconds(), metric.WithAttributes(attrs...))
}
