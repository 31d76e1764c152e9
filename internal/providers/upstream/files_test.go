package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// exhaust opens files until the process cannot open more. end closes them.
func useAllFiles(t *testing.T) (end func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = uint64(len(open) + 64)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	end = func() {
		for _, f := range taken {
			f.Close()
		}
		taken = nil
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { end() })
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			return end
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, f)
	}
}

// TestNoFileDescriptors: without file descriptors a call fails as Overloaded. It takes no slot and
// is not sent again.
func TestNoFileDescriptors(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	r := newFixture(t, nil, nil)
	var reported []string
	transport := upstream.New(upstream.Config{
		Timeout: timeout, Counter: r.counter, Observer: r,
		OutOfFiles: func(_ context.Context, aspsp string) { reported = append(reported, aspsp) },
	})
	client := transport.Client(providers.ClientConfig{ClassifyError: classify})
	q := unattendedQuery()
	if used := r.used(t, q); used != 0 { // and the connection to Redis stays open
		t.Fatal(used)
	}
	end := useAllFiles(t)
	for _, q := range []canonical.Query{q, attendedQuery()} {
		_, err := client.Read(t.Context(), q, post(t, s.URL))
		var failure *canonical.Error
		if !errors.As(err, &failure) || failure.Kind != canonical.Overloaded || failure.Origin != canonical.OriginGateway || failure.RetryAfter <= 0 {
			t.Errorf("attended %t: %+v", q.Attended(), failure)
		}
	}
	end()
	if diff := cmp.Diff([]string{aspsp, aspsp}, reported); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]upstream.SlotEvent{upstream.SlotTaken, upstream.SlotReleased}, r.slots); diff != "" || r.used(t, q) != 0 {
		t.Errorf("%d counted, %s", r.used(t, q), diff)
	}
	if _, err := client.Read(t.Context(), q, post(t, s.URL)); err != nil || len(reported) != 2 {
		t.Errorf("afterwards: %v, %d times", err, len(reported))
	}
}

func TestOutOfFiles(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{syscall.ECONNREFUSED, false},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, true},
		{fmt.Errorf("accept: %w", syscall.ENFILE), true},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "dial udp: socket: too many open files"}}, true},
		{&net.DNSError{Err: "no such host"}, false},
	} {
		if got := upstream.OutOfFiles(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}
