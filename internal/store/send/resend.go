package send

import (
	"context"
	"errors"
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
		second := next(ctx, cmd)
		if isFailure(second) {
			cmd.SetErr(err) // the first error decides, because the first attempt may have been executed
			return err
		}
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
			if isFailure(cmd.Err()) {
				cmd.SetErr(err)
				second = err
			}
		}
		return second
	}
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
