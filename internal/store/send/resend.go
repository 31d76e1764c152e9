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
// The second attempt uses a new connection (see connections in internal/store); if that one is lost
// too, the command fails. All commands of the gateway may be executed twice, even after their
// request has left: they are idempotent or carry an id.
func Resend(rdb *redis.Client) { rdb.AddHook(resend{}) }

type resend struct{}

func (resend) DialHook(next redis.DialHook) redis.DialHook { return next }

func (resend) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !ConnLost(err) || ctx.Err() != nil {
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
		if !ConnLost(err) || ctx.Err() != nil {
			return err
		}
		first := make([]error, len(cmds)) // nil for those with a reply
		for i, cmd := range cmds {
			first[i] = cmd.Err()
		}
		second := next(ctx, cmds)
		for i, cmd := range cmds {
			cmd.SetErr(secondError(cmd.Err(), first[i]))
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
// failed, that is the first error, because the first attempt may have been executed.
func secondError(second, first error) error {
	if isFailure(second) {
		return first
	}
	return second
}

const firstKey = 3 // position of the first key among the arguments of EVALSHA

// Run runs a script by its hash, or by its source if Redis does not know it. The error of the second
// attempt wraps ErrExecutedBefore: Redis may have executed the first one, if it was sent twice and
// did not know the script the second time.
func Run(ctx context.Context, script *redis.Script, rdb redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	all := append(make([]any, 0, firstKey+len(keys)+len(args)), "evalsha", script.Hash(), len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	first := redis.NewCmd(ctx, append(all, args...)...) // as EvalSha, which copies the arguments more often
	first.SetFirstKeyPos(firstKey)
	_ = rdb.Process(ctx, first) // it has the error
	if !isNoScript(first.Err()) {
		return first
	}
	second := script.Eval(ctx, rdb, keys, args...)
	second.SetErr(ExecutedBefore(second.Err()))
	return second
}

// ExecutedBefore returns an error that wraps ErrExecutedBefore and err, or nil if err is nil.
func ExecutedBefore(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrExecutedBefore, err)
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
