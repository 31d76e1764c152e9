// Command peer is what the gateway is compared with, and what both call. As a stub it responds like
// the providers, without work: its bodies are made at the start. As a proxy it passes requests to
// the stub with httputil.ReverseProxy, one hop that reads no body. TestCompare builds and runs it.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ais-gateway/internal/providers/responsetest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "the `address` to listen on")
	upstream := flag.String("upstream", "", "the `URL` to pass requests to; without it, peer is the stub")
	delay := flag.Duration("delay", 0, "how long the stub waits before each response of a provider")
	flag.Parse()
	handler := stub(*delay)
	if *upstream != "" {
		var err error
		if handler, err = proxy(*upstream); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	server := &http.Server{Addr: *listen, Handler: handler, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// stub returns the handler of both providers and of a collector of traces. /calls has the number of
// calls to the providers and of exports to the collector, so far.
func stub(delay time.Duration) http.Handler {
	var calls, exports atomic.Int64
	provider := func(body []byte) http.HandlerFunc {
		contentType, length := []string{"application/json"}, []string{strconv.Itoa(len(body))}
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			calls.Add(1)
			if delay > 0 {
				time.Sleep(delay)
			}
			header := w.Header()
			header["Content-Type"], header["Content-Length"] = contentType, length
			_, _ = w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/accounts", provider(responsetest.MyPOSAccounts()))
	mux.Handle("GET /v1/accounts/{number}/balances", provider(responsetest.MyPOSBalances()))
	mux.Handle("POST /accounts", provider(responsetest.OBCAccounts()))
	mux.Handle("POST /accounts/account/balances", provider(responsetest.OBCBalances()))
	mux.HandleFunc("POST /v1/traces", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		exports.Add(1)
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, calls.Load(), exports.Load())
	})
	return mux
}

// proxy returns a handler that passes every request to a base URL, on connections that it keeps.
func proxy(base string) (http.Handler, error) {
	upstream, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	return &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport:  transport,
		BufferPool: &buffers{},
	}, nil
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

// Get returns a buffer of 32 KiB.
func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

// Put gives a buffer back.
func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
