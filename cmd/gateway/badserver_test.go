package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
)

// canary stands in whatever a bad server says for people. It may be in an answer that is a success, and nowhere else.
const canary = "Canary-Maria-Musterfrau"

// A question is what a gateway asked of a provider.
type question struct {
	provider, consent, requestID, account string // account is "" for the list
}

// answers writes to a connection what a question brings about.
type answers func(conn *line, a question)

// A line is a connection of a bad server's. It ends with its first answer that is not whole.
type line struct {
	*net.TCPConn
	whole bool
}

// A badServer is a provider that writes to its connections whatever a test wants, by the consent that is asked with.
type badServer struct {
	provider, base string

	mu      sync.Mutex
	by      map[string]answers
	arrived map[string]int
}

func openBadServer(t testing.TB, provider string) *badServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &badServer{provider: provider, base: "http://" + l.Addr().String(), by: map[string]answers{}, arrived: map[string]int{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *badServer) serve(conn net.Conn) {
	defer conn.Close()
	l, read := &line{TCPConn: conn.(*net.TCPConn), whole: true}, bufio.NewReader(conn)
	for l.whole {
		a, err := s.read(read)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.arrived[a.consent]++
		answer := s.by[a.consent]
		s.mu.Unlock()
		if l.whole = false; answer != nil {
			answer(l, a)
		}
	}
	_ = l.CloseWrite()
	_, _ = io.Copy(io.Discard, conn) // so that what was written does not end in a reset
}

func (s *badServer) read(from *bufio.Reader) (question, error) {
	req, err := http.ReadRequest(from)
	if err != nil {
		return question{}, err
	}
	if s.provider == "mypos" {
		path, err := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(req.URL.EscapedPath(), "/v1/accounts"), "/balances"))
		return question{s.provider, req.Header.Get("Consent-ID"), req.Header.Get("X-Request-ID"), strings.TrimPrefix(path, "/")}, err
	}
	var w struct {
		RequestInfo struct{ XRequestID, ConsentID string }
		AccountID   string
	}
	err = json.NewDecoder(req.Body).Decode(&w)
	return question{s.provider, w.RequestInfo.ConsentID, w.RequestInfo.XRequestID, w.AccountID}, err
}

// on says how a consent's calls are answered.
func (s *badServer) on(consent string, how answers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[consent] = how
}

func (s *badServer) count(consent string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived[consent]
}

// accountOf is an account of every consent's.
func accountOf(provider string) string {
	return map[string]string{"mastercard": mastercardsim.Account, "mypos": mypossim.GoodAccount}[provider]
}

// body is a good answer, which names the request given as the one that it answers, where that stands in bodies.
func (a question) body(requestID string) string {
	switch {
	case a.provider == "mypos" && a.account == "":
		return fmt.Sprintf(`{"accounts":[{"accountNumber":%q,"currency":"PLN","name":%q}]}`, accountOf(a.provider), canary)
	case a.provider == "mypos":
		return fmt.Sprintf(`{"account":{"accountNumber":%q},"balances":[{"amount":4.20,"currency":"PLN","x":%q}]}`, a.account, canary)
	case a.account == "":
		return fmt.Sprintf(`{"originalRequestInfo":{"xRequestId":%q},"accounts":[{"resourceId":%q,"currency":"PLN","name":%q}]}`,
			requestID, accountOf(a.provider), canary)
	}
	return fmt.Sprintf(`{"originalRequestInfo":{"xRequestId":%q},"account":{"resourceId":%q,"name":%q,"balances":[`+
		`{"balanceAmount":{"currency":"PLN","amount":4.20},"creditDebitIndicator":"Credit"}]}}`, requestID, a.account, canary)
}

// good is a good answer's body.
func (a question) good() string { return a.body(a.requestID) }

// with is a good answer's body with a member before all others.
func (a question) with(member string) string { return "{" + member + "," + a.good()[1:] }

// records is the beginning of a good answer's list of records.
func (a question) records() string {
	if a.account == "" {
		return `"accounts":[`
	}
	return `"balances":[`
}
