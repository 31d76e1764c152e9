package store

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// again sends a command once more whose connection turns out to be dead: after a restart of Redis, every one that was idle
// is. The client notices by itself before it sends only where there is no TLS. The second connection is a new one, see
// connections; if it ends as well, the command fails. All that the gateway has Redis do may be done twice: it has an id, or
// says the same.
type again struct{}

func (again) DialHook(next redis.DialHook) redis.DialHook { return next }

func (again) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !dead(err) || ctx.Err() != nil {
			return err
		}
		second := next(ctx, cmd)
		if failed(second) {
			cmd.SetErr(err) // the first may have been carried out, whatever became of this one
			return err
		}
		return second
	}
}

func (again) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if !dead(err) || ctx.Err() != nil {
			return err
		}
		second := next(ctx, cmds)
		if failed(second) {
			cmds[0].SetErr(err)
			return err
		}
		return second
	}
}

// failed reports whether a command that was sent again has failed: a value that is not there is no failure, and a script
// that Redis does not know is sent whole next.
func failed(err error) bool { return err != nil && !errors.Is(err, redis.Nil) && !forgotten(err) }

// forgotten reports whether Redis does not know the script: whoever sent its name sends it whole. A Redis that was
// started anew knows none.
func forgotten(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// dead reports whether a connection was lost, and not for want of time.
func dead(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
