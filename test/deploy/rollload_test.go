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

// A rollConsent is one that is used while gateways are replaced.
type rollConsent struct{ aspsp, id string }

// A rollAsk is one request.
type rollAsk struct {
	method, path string
	header       []string // name and value in turn
	may          []string // what may be answered, status and code
}

// ask makes a request under the consent, with the user or without.
func (c rollConsent) ask(method, path string, attended bool) rollAsk {
	header := []string{"Consent-ID", c.id, "Cache-Control", "no-cache"}
	if c.aspsp == sandbox.MyPOS {
		header = append(header, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	}
	a := rollAsk{method: method, path: "/v1/aspsps/" + c.aspsp + path, may: rollUnattended}
	if attended {
		header, a.may = append(header, "PSU-IP-Address", "203.0.113.7"), []string{"200"}
	}
	a.header = header
	return a
}

// account is one that the consent covers.
func (c rollConsent) account() string {
	if c.aspsp == sandbox.MyPOS {
		return mypossim.GoodAccount
	}
	return mastercardsim.Account
}

const rollLimited = "429 UNATTENDED_LIMIT"

// rollUnattended is what may be answered without the user: the list or balances, that there is no such account, or that
// four calls were made.
var rollUnattended = []string{"200", "404 ACCOUNT_UNKNOWN", rollLimited}

// A rollAnswer is what a caller sees of an answer.
type rollAnswer struct {
	status int
	code   string // of a problem
	close  bool   // the connection ends with it
}

func (a rollAnswer) said() string { return strings.TrimSpace(strconv.Itoa(a.status) + " " + a.code) }

// A rollCaller asks over TCP by itself: nothing is sent a second time behind its back, as http.Client does, and no
// connection is looked at before it is used.
type rollCaller struct {
	address string
	keeps   bool // its connection, for as long as the gateway does not say otherwise
	opened  *atomic.Int64

	conn net.Conn
	read *bufio.Reader
}

func (c *rollCaller) leave() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *rollCaller) ask(a rollAsk) (answer rollAnswer, err error) {
	used := c.conn != nil
	defer func() {
		if err != nil || answer.close || !c.keeps {
			c.leave()
		}
		if err != nil && used {
			err = fmt.Errorf("on a connection that was kept: %w", err)
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
	answer = rollAnswer{status: resp.StatusCode, close: resp.Close}
	var body struct{ Code string }
	if resp.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(resp.Body).Decode(&body)
	}
	answer.code = body.Code
	return answer, err
}

// A rollLoad is callers of every kind, who go on asking for many consents: some keep their connections and rest now and
// then, some never rest, and some take a connection for each request.
type rollLoad struct {
	address       string
	row           uuid.UUID    // of consents that nobody has used yet
	asked, opened atomic.Int64 // requests, connections
	stop          func()       // ends the asking and waits for the last answers

	mu     sync.Mutex
	failed map[string]int // what was not answered as it may be
}

const (
	rollCallers = 8  // of each kind
	rollEach    = 10 // requests for a consent, spread over as many as rollSpread consents take
	rollSpread  = 20
)

func startRollLoad(t *testing.T, address string) *rollLoad {
	t.Helper()
	l := &rollLoad{address: address, row: uuid.New(), failed: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, kind := range []struct {
		keeps bool
		rest  time.Duration // at most
	}{{true, 100 * time.Millisecond}, {true, 5 * time.Millisecond}, {false, 50 * time.Millisecond}} {
		for range rollCallers {
			callers.Go(func() {
				c := &rollCaller{address: address, keeps: kind.keeps, opened: &l.opened}
				defer c.leave()
				for ctx.Err() == nil {
					l.one(c)
					time.Sleep(rand.N(kind.rest))
				}
			})
		}
	}
	l.stop = func() { cancel(); callers.Wait() }
	t.Cleanup(l.stop)
	return l
}

// consent is the i-th, at Wood Bank and at myPOS in turn.
func (l *rollLoad) consent(i int) rollConsent {
	id := uuid.NewSHA1(l.row, []byte(strconv.Itoa(i))).String()
	if i%2 == 0 {
		return rollConsent{mastercardsim.WoodBank, mastercardsim.FreshConsent + id}
	}
	return rollConsent{sandbox.MyPOS, id}
}

// used is how many consents were asked for.
func (l *rollLoad) used() int { return int(l.asked.Load())/rollEach + rollSpread }

func (l *rollLoad) one(c *rollCaller) {
	of := l.consent(int(l.asked.Add(1))/rollEach + rand.IntN(rollSpread))
	balances := "/accounts/" + of.account() + "/balances"
	var a rollAsk
	switch rand.IntN(10) {
	case 0:
		a = of.ask(http.MethodDelete, "/cached-data", false)
		a.may = []string{"204"}
	case 1:
		a = of.ask(http.MethodGet, "/unattended-access", false)
		a.may = []string{"200"}
	case 2:
		a = of.ask(http.MethodGet, "/accounts", true)
	case 3, 4:
		a = of.ask(http.MethodGet, balances, true)
	case 5:
		a = of.ask(http.MethodGet, "/accounts", false)
	case 6, 7:
		a = of.ask(http.MethodGet, balances, false)
	default:
		a = of.ask(http.MethodGet, fmt.Sprintf("/accounts/none-%d/balances", rand.IntN(10)), false)
	}
	answer, err := c.ask(a)
	var failure string
	switch {
	case err != nil:
		failure = fmt.Sprintf("%s %s: %v", a.method, a.path[strings.LastIndex(a.path, "/"):], err)
	case !slices.Contains(a.may, answer.said()):
		failure = fmt.Sprintf("%s %s: %s, may be %q", a.method, a.path[strings.LastIndex(a.path, "/"):], answer.said(), a.may)
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[failure]++
}

// fails is how many requests have failed since it was last asked.
func (l *rollLoad) fails() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, times := range l.failed {
		n += times
	}
	clear(l.failed)
	return n
}
