package store

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// again sends a command again whose connection turns out to be dead: after a restart of Redis, every one that was idle
// is. The client notices by itself before it sends only where there is no TLS. All that the gateway has Redis do may be
// done twice: it bears an id, or says the same.
type again struct{}

func (again) DialHook(next redis.DialHook) redis.DialHook { return next }

func (again) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		for tries := 0; dead(err) && tries < poolSize && ctx.Err() == nil; tries++ {
			before := err
			if err = next(ctx, cmd); err != nil && !dead(err) && !forgotten(err) {
				cmd.SetErr(before) // the first may have been carried out, whatever became of this one
				return before
			}
		}
		return err
	}
}

func (again) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for tries := 0; dead(err) && tries < poolSize && ctx.Err() == nil; tries++ {
			before := err
			if err = next(ctx, cmds); err != nil && !dead(err) && !forgotten(err) {
				cmds[0].SetErr(before)
				return before
			}
		}
		return err
	}
}

// forgotten reports whether Redis does not know the script: whoever sent its name sends it whole. A Redis that was
// started anew knows none.
func forgotten(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// dead reports whether a connection was lost, and not for want of time.
func dead(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
