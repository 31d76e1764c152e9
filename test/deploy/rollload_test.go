package deploy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// rollConsent is a consent id at an ASPSP.
type rollConsent struct{ aspsp, id string }

// rollRequest is a request of the load.
type rollRequest struct {
	method, path string
	header       []string // name and value in turn
	allowed      []string // the allowed outcomes: status and code
}

// request returns an attended or unattended request under the consent.
func (c rollConsent) request(method, path string, attended bool) rollRequest {
	header := []string{"Consent-ID", c.id, "Cache-Control", "no-cache"}
	if c.aspsp == sandbox.MyPOS {
		header = append(header, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	a := rollRequest{method: method, path: "/v1/aspsps/" + c.aspsp + path, allowed: rollUnattended}
	if attended {
		header, a.allowed = append(header, "PSU-IP-Address", "203.0.113.7"), []string{"200"}
	}
	a.header = header
	return a
}

// account returns an account that the consent covers.
func (c rollConsent) account() string {
	if c.aspsp == sandbox.MyPOS {
		return mypossim.GoodAccount
	}
	return mastercardsim.Account
}

const rollLimited = "429 UNATTENDED_LIMIT"

// rollUnattended are the allowed outcomes of unattended requests: success, an unknown account, or
// the limit.
var rollUnattended = []string{"200", "404 ACCOUNT_UNKNOWN", rollLimited}

// rollResponse is a response to a rollRequest.
type rollResponse struct {
	status int
	code   string // of a problem
	close  bool   // the connection closes after it
}

func (a rollResponse) outcome() string {
	return strings.TrimSpace(strconv.Itoa(a.status) + " " + a.code)
}

// rollCaller sends requests on a TCP connection. Unlike http.Client it does not send a request
// again, and does not check a connection before it uses it.
type rollCaller struct {
	address   string
	keepAlive bool // reuse the connection until a response closes it
	opened    *atomic.Int64

	conn net.Conn
	read *bufio.Reader
}

func (c *rollCaller) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *rollCaller) do(a rollRequest) (answer rollResponse, err error) {
	used := c.conn != nil
	defer func() {
		if err != nil || answer.close || !c.keepAlive {
			c.close()
		}
		if err != nil && used {
			err = fmt.Errorf("on a reused connection: %w", err)
		}
	}()
	req, err := http.NewRequestWithContext(context.Background(), a.method, "http://"+c.address+a.path, nil)
	if err != nil {
		return answer, err
	}
	req.Header.Set("X-API-Key", sandbox.Key)
	for i := 0; i+1 < len(a.header); i += 2 {
		req.Header.Set(a.header[i], a.header[i+1])
	}
	if !used {
		if c.conn, err = net.DialTimeout("tcp", c.address, time.Minute); err != nil {
			return answer, err
		}
		c.read = bufio.NewReader(c.conn)
		if c.opened != nil {
			c.opened.Add(1)
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return answer, err
	}
	if err := req.Write(c.conn); err != nil {
		return answer, err
	}
	resp, err := http.ReadResponse(c.read, req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	answer = rollResponse{status: resp.StatusCode, close: resp.Close}
	var body struct{ Code string }
	if resp.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(resp.Body).Decode(&body)
	}
	answer.code = body.Code
	return answer, err
}

// rollLoad sends requests under many consents until it is stopped: from callers that reuse
// connections with long or short pauses, and from callers that open a connection for each request.
type rollLoad struct {
	address          string
	seed             uuid.UUID    // for the ids of unused consents
	requests, opened atomic.Int64 // requests, connections
	stop             func()       // sends no more requests and waits for the last responses

	mu     sync.Mutex
	failed map[string]int // failures by description
}

const (
	rollWorkers            = 8  // of each kind
	rollRequestsPerConsent = 10 // requests under each consent, spread over rollConsentsInUse consents
	rollConsentsInUse      = 20
)

// startRollLoad sends requests to an address until the test ends.
func startRollLoad(t *testing.T, address string) *rollLoad {
	t.Helper()
	l := &rollLoad{address: address, seed: uuid.New(), failed: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, kind := range []struct {
		keeps bool
		rest  time.Duration // at most
	}{{true, 100 * time.Millisecond}, {true, 5 * time.Millisecond}, {false, 50 * time.Millisecond}} {
		for range rollWorkers {
			callers.Go(func() {
				c := &rollCaller{address: address, keepAlive: kind.keeps, opened: &l.opened}
				defer c.close()
				for ctx.Err() == nil {
					l.sendOne(c)
					time.Sleep(rand.N(kind.rest))
				}
			})
		}
	}
	l.stop = func() { cancel(); callers.Wait() }
	t.Cleanup(l.stop)
	return l
}

// consent returns the consent with an index, alternately at Wood Bank and at myPOS.
func (l *rollLoad) consent(i int) rollConsent {
	id := uuid.NewSHA1(l.seed, []byte(strconv.Itoa(i))).String()
	if i%2 == 0 {
		return rollConsent{mastercardsim.WoodBank, mastercardsim.FreshConsent + id}
	}
	return rollConsent{sandbox.MyPOS, id}
}

// usedConsents returns how many consents the load has used.
func (l *rollLoad) usedConsents() int {
	return int(l.requests.Load())/rollRequestsPerConsent + rollConsentsInUse
}

func (l *rollLoad) sendOne(c *rollCaller) {
	of := l.consent(int(l.requests.Add(1))/rollRequestsPerConsent + rand.IntN(rollConsentsInUse))
	balances := "/accounts/" + of.account() + "/balances"
	var a rollRequest
	switch rand.IntN(10) {
	case 0:
		a = of.request(http.MethodDelete, "/cached-data", false)
		a.allowed = []string{"204"}
	case 1:
		a = of.request(http.MethodGet, "/unattended-access", false)
		a.allowed = []string{"200"}
	case 2:
		a = of.request(http.MethodGet, "/accounts", true)
	case 3, 4:
		a = of.request(http.MethodGet, balances, true)
	case 5:
		a = of.request(http.MethodGet, "/accounts", false)
	case 6, 7:
		a = of.request(http.MethodGet, balances, false)
	default:
		a = of.request(http.MethodGet, fmt.Sprintf("/accounts/none-%d/balances", rand.IntN(10)), false)
	}
	answer, err := c.do(a)
	var failure string
	switch {
	case err != nil:
		failure = fmt.Sprintf("%s %s: %v", a.method, a.path[strings.LastIndex(a.path, "/"):], err)
	case !slices.Contains(a.allowed, answer.outcome()):
		failure = fmt.Sprintf("%s %s: %s, may be %q", a.method, a.path[strings.LastIndex(a.path, "/"):], answer.outcome(), a.allowed)
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[failure]++
}

// takeFailures returns the number of failed requests since the last call.
func (l *rollLoad) takeFailures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, times := range l.failed {
		n += times
	}
	clear(l.failed)
	return n
}
