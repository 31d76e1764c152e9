package redistest

import (
	"io"
	"net"
	"testing"
	"time"
)

// Slow is the host:port of a way to the Redis at addr on which everything arrives late by delay.
func Slow(t testing.TB, addr string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() {
				defer in.Close()
				_, _ = io.Copy(in, out) // ends with either side
			}()
			go late(out, in, delay)
		}
	}()
	return l.Addr().String()
}

func late(to io.WriteCloser, from io.Reader, delay time.Duration) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		time.Sleep(delay)
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
