package main

import (
	"context"
	"io"
)

// Run runs the service in this process until stop is called, and says where it is.
func Run(ctx context.Context, file string, logs io.Writer) (api string, stop func(), err error) {
	mute()
	c, err := load(file)
	if err != nil {
		return "", nil, err
	}
	p, err := assemble(ctx, c, logs)
	if err != nil {
		return "", nil, err
	}
	ctx, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	return "http://" + p.apiAddress(), func() { end(); <-ended }, nil
}
