package compare_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/redistest"
)

// connections is the number of connections of a load, each with one request at a time.
const connections = 64

// Texts in a request that are replaced each time it is sent, by texts of the same length.
const (
	anyAccount   = "{account}"                            // by the number of one of 1,000 accounts
	freshConsent = "ffffffff-ffff-4fff-8fff-ffffffffffff" // by a consent of its own
)

// request is what a load sends, and the status of the only response that is not an error.
type request struct {
	text   string
	status int
	read   func(*bufio.Reader) (status int, err error)
}

// get returns a GET request over HTTP. header alternates names and values.
func get(status int, path string, header ...string) request {
	var text strings.Builder
	fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: gateway\r\n", path)
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", header[i], header[i+1])
	}
	return request{text.String() + "\r\n", status, readHTTP}
}

// redisGet returns a GET of Redis. The status of a value is 200.
func redisGet(key string) request {
	return request{fmt.Sprintf("*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key), http.StatusOK, readBulk}
}

// writer returns a function that returns the bytes to send next on a connection. It reuses them.
// The first account is the one after the given number.
func (r request) writer(number int) func() []byte {
	text := []byte(r.text)
	account, consent := strings.Index(r.text, anyAccount), strings.Index(r.text, freshConsent)
	return func() []byte {
		if account >= 0 {
			number = (number + 1) % 1000
			copy(text[account:], fmt.Sprintf("%0*d", len(anyAccount), number))
		}
		if consent >= 0 {
			copy(text[consent:], uuid.NewString())
		}
		return text
	}
}

// readHTTP reads a response, whose body must have a known length or be chunked, and returns its
// status.
func readHTTP(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := -1, false
	for len(line) > len("\r\n") {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if value, ok := headerValue(line, "Content-Length:"); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return 0, err
			}
		} else if value, ok = headerValue(line, "Transfer-Encoding:"); ok {
			chunked = value == "chunked"
		}
	}
	switch {
	case chunked:
		err = discardChunks(in)
	case length < 0:
		err = errors.New("no length")
	default:
		_, err = in.Discard(length)
	}
	return status, err
}

// headerValue returns the value of a header line that begins with the name.
func headerValue(line []byte, name string) (value string, ok bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return "", false
	}
	return string(bytes.TrimSpace(line[len(name):])), true
}

// discardChunks reads a chunked body without trailers (RFC 9112, section 7.1).
func discardChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return err
		}
		if _, err := in.Discard(int(size) + len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

// readBulk reads a response of Redis, and returns 200 for a value and 404 for none.
func readBulk(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != '$' {
		return 0, errors.New("Redis does not return a value")
	}
	length, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	if err != nil || length < 0 {
		return http.StatusNotFound, err
	}
	_, err = in.Discard(length + len("\r\n"))
	return http.StatusOK, err
}

// outcome is the result of a load.
type outcome struct {
	responses int // of the expected status
	errors    int // responses of another status, and connections that failed
	firstErr  error
	took      time.Duration
	p99       time.Duration // 99th percentile of the latency
}

// send opens the connections, spread over the servers' addresses, and sends one request on each,
// which does not count. Then it calls measure with a function that sends further requests for a
// duration, at least one on each connection, the next one when a response has arrived.
func send(addresses []string, r request, during time.Duration, measure func(run func())) outcome {
	clients := make([]*client, connections)
	each := func(do func(c *client)) {
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() { do(c) })
		}
		all.Wait()
	}
	for i := range clients {
		clients[i] = dial(addresses[i%len(addresses)], r, i, during)
		defer clients[i].close()
	}
	each(func(c *client) { c.exchange() })
	for _, c := range clients {
		c.latencies = c.latencies[:0]
	}
	var o outcome
	measure(func() {
		began := time.Now()
		each(func(c *client) {
			for more := true; more; more = more && time.Since(began) < during {
				more = c.exchange()
			}
		})
		o.took = time.Since(began)
	})
	var latencies []time.Duration
	for _, c := range clients {
		latencies = append(latencies, c.latencies...)
		o.errors += c.errors
		o.firstErr = cmp.Or(o.firstErr, c.err)
	}
	if o.responses = len(latencies); o.responses > 0 {
		slices.Sort(latencies)
		o.p99 = latencies[len(latencies)*99/100]
	}
	return o
}

// client is one connection of a load.
type client struct {
	conn      net.Conn // nil if it could not be opened
	in        *bufio.Reader
	next      func() []byte
	request   request
	latencies []time.Duration // of responses of the expected status
	errors    int
	err       error // the first
}

// dial opens a connection on which the last exchange ends at the latest a minute after the load.
func dial(address string, r request, number int, during time.Duration) *client {
	c := &client{next: r.writer(number), request: r}
	conn, err := net.Dial("tcp", address)
	if err == nil {
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 16<<10)
		err = conn.SetDeadline(time.Now().Add(during + time.Minute))
	}
	c.fail(err)
	return c
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// fail counts an error, if there is one.
func (c *client) fail(err error) {
	if err != nil {
		c.errors++
		c.err = cmp.Or(c.err, err)
	}
}

// exchange sends a request and reads its response. It reports whether the connection still works.
func (c *client) exchange() bool {
	if c.conn == nil {
		return false
	}
	began := time.Now()
	_, err := c.conn.Write(c.next())
	status := 0
	if err == nil {
		status, err = c.request.read(c.in)
	}
	switch {
	case err != nil:
		c.close()
		c.conn = nil
		c.fail(err)
	case status != c.request.status:
		c.fail(fmt.Errorf("status %d", status))
	default:
		c.latencies = append(c.latencies, time.Since(began))
	}
	return c.conn != nil
}

// once sends one request on each connection, which does not count, and one that counts.
func once(address string, r request) outcome {
	return send([]string{address}, r, 0, func(run func()) { run() })
}

// TestSend: each connection sends complete requests, with an account and a consent of their own.
func TestSend(t *testing.T) {
	var mu sync.Mutex
	consents, accounts, wrong := map[string]bool{}, map[string]bool{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Consent-ID")
		accounts[r.URL.Path] = true
		if consents[id] || uuid.Validate(id) != nil || r.Header.Get("Accept") != "text/plain" || r.ContentLength != 0 {
			wrong++
		}
		consents[id] = true
		fmt.Fprint(w, strings.Repeat("text", 10*len(consents))) // the longer ones are chunked
	}))
	defer server.Close()
	r := get(http.StatusOK, "/a/"+anyAccount+"/b", "Consent-ID", freshConsent, "Accept", "text/plain")
	began := 0
	o := send([]string{server.Listener.Addr().String()}, r, 0, func(run func()) {
		mu.Lock()
		began = len(consents)
		mu.Unlock()
		run()
	})
	mu.Lock()
	defer mu.Unlock()
	if began != connections || wrong != 0 || len(consents) != 2*connections {
		t.Errorf("%d requests before, %d in all, %d wrong", began, len(consents), wrong)
	}
	if o.responses != connections || o.errors != 0 || o.firstErr != nil || o.took <= 0 || o.p99 <= 0 || o.p99 > o.took {
		t.Errorf("%+v", o)
	}
	if want := connections + 1; len(accounts) != want || !accounts["/a/000000001/b"] || !accounts["/a/000000065/b"] {
		t.Errorf("%d accounts, want %d", len(accounts), want)
	}
}

// TestSendContinues: a connection sends the next request when it has a response, while it works and
// the time is not over.
func TestSendContinues(t *testing.T) {
	const served = 10 * connections
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if requests.Add(1) > served {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	o := send([]string{server.Listener.Addr().String()}, get(http.StatusOK, "/"), time.Hour, func(run func()) { run() })
	if o.responses != served-connections || o.errors != connections {
		t.Errorf("%+v", o)
	}
}

// TestSendCountsErrors: another status is an error, and so are a response whose end is not known, a
// connection that breaks, and a server that is not there.
func TestSendCountsErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		errors  int
	}{
		"status":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, 2 * connections},
		"no length": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Transfer-Encoding", "identity") }, connections},
		"EOF":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, connections},
	} {
		server := httptest.NewServer(tt.handler)
		o := once(server.Listener.Addr().String(), get(http.StatusOK, "/"))
		server.Close()
		if o.responses != 0 || o.errors != tt.errors || o.firstErr == nil || !strings.Contains(o.firstErr.Error(), name) {
			t.Errorf("%s: %+v", name, o)
		}
		if o := once(server.Listener.Addr().String(), get(http.StatusOK, "/")); o.errors != connections {
			t.Errorf("without a server: %+v", o)
		}
	}
}

// TestSendToRedis: a value of Redis is read to its end, and a missing one is an error.
func TestSendToRedis(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Do("SET", "key", strings.Repeat("value\r\n", 1000)).Err(); err != nil {
		t.Fatal(err)
	}
	if o := once(server.Addr, redisGet("key")); o.responses != connections || o.errors != 0 {
		t.Errorf("%+v", o)
	}
	if o := once(server.Addr, redisGet("missing")); o.responses != 0 || o.errors != 2*connections {
		t.Errorf("a missing value: %+v", o)
	}
	if err := server.Do("LPUSH", "list", "value").Err(); err != nil {
		t.Fatal(err)
	}
	if o := once(server.Addr, redisGet("list")); o.responses != 0 || o.errors != connections {
		t.Errorf("a list: %+v", o)
	}
}
