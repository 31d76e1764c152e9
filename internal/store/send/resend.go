package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Resend makes a client send a command once more if its connection was lost. After a restart of
// Redis all idle connections are dead, and the client detects this before it sends only without TLS.
// The second attempt uses a new connection (see store.ReadyConns); if that one is lost too, the
// command fails. All commands of the gateway may be executed twice: they are idempotent or carry an
// id. But none is sent after its request has left, which may have released the slot or the lease
// since.
func Resend(rdb *redis.Client) { rdb.AddHook(resend{}) }

type resend struct{}

func (resend) DialHook(next redis.DialHook) redis.DialHook { return next }

func (resend) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !ConnLost(err) || len(toResend(ctx, cmd)) == 0 {
			return err
		}
		second := secondError(next(ctx, cmd), err)
		cmd.SetErr(second)
		return second
	}
}

func (resend) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if !ConnLost(err) {
			return err
		}
		again := toResend(ctx, cmds...)
		if len(again) == 0 {
			return err
		}
		second := next(ctx, again)
		for _, cmd := range again {
			cmd.SetErr(secondError(cmd.Err(), err))
			if isFailure(cmd.Err()) {
				second = err
			}
		}
		return second
	}
}

// ErrExecutedBefore is part of an error after which an earlier attempt of the same command may have
// been executed.
var ErrExecutedBefore = errors.New("an earlier attempt may have been executed")

// secondError returns the error of a command whose first attempt was lost. If the second attempt
// failed, that is the first error, because the first attempt may have been executed. An unknown script
// stays one, and wraps ErrExecutedBefore.
func secondError(second, first error) error {
	switch {
	case isFailure(second):
		return first
	case isNoScript(second):
		return fmt.Errorf("%w (%w: %w)", second, ErrExecutedBefore, first)
	}
	return second
}

const firstKey = 3 // position of the first key among the arguments of EVALSHA

// Run runs a script by its hash, or by its source if Redis does not know it. The error wraps
// ErrExecutedBefore if a lost attempt may have been executed before.
func Run(ctx context.Context, script *redis.Script, rdb redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	all := append(make([]any, 0, firstKey+len(keys)+len(args)), "evalsha", script.Hash(), len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	first := redis.NewCmd(ctx, append(all, args...)...) // EvalSha would replace the error of an unknown script
	first.SetFirstKeyPos(firstKey)
	_ = rdb.Process(ctx, first) // it has the error
	if !isNoScript(first.Err()) {
		return first
	}
	second := script.Eval(ctx, rdb, keys, args...)
	if err := second.Err(); err != nil && errors.Is(first.Err(), ErrExecutedBefore) {
		second.SetErr(fmt.Errorf("%w (%w)", err, ErrExecutedBefore))
	}
	return second
}

// isFailure reports whether a retried command failed. A missing value is not a failure, nor is an
// unknown script, which the caller then sends with EVAL.
func isFailure(err error) bool { return err != nil && !errors.Is(err, redis.Nil) && !isNoScript(err) }

// isNoScript reports whether Redis does not know the script of an EVALSHA, as after a restart.
func isNoScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// ConnLost reports whether the error is a lost connection, and not a timeout.
func ConnLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
