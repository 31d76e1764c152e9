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

// canary is in the texts of bad servers. It may be returned only in a successful response.
const canary = "Canary-Maria-Musterfrau"

// A providerRequest is a request of the gateway to a provider.
type providerRequest struct {
	provider, consent, requestID, account string // account is "" for the account list
}

// A responder writes the response to a request.
type responder func(conn *badConn, q providerRequest)

// A badConn is a connection to a badServer. It is closed after the first response that is not
// complete.
type badConn struct {
	*net.TCPConn
	complete bool
}

// A badServer is a provider that responds to the requests of each consent as a test wants, with any
// bytes.
type badServer struct {
	provider, base string

	mu      sync.Mutex
	by      map[string]responder
	arrived map[string]int
}

func openBadServer(t testing.TB, provider string) *badServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &badServer{provider: provider, base: "http://" + l.Addr().String(), by: map[string]responder{}, arrived: map[string]int{}}
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
	l, read := &badConn{TCPConn: conn.(*net.TCPConn), complete: true}, bufio.NewReader(conn)
	for l.complete {
		q, err := s.read(read)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.arrived[q.consent]++
		respond := s.by[q.consent]
		s.mu.Unlock()
		if l.complete = false; respond != nil {
			respond(l, q)
		}
	}
	_ = l.CloseWrite()
	_, _ = io.Copy(io.Discard, conn) // unread bytes would reset the connection
}

func (s *badServer) read(from *bufio.Reader) (providerRequest, error) {
	req, err := http.ReadRequest(from)
	if err != nil {
		return providerRequest{}, err
	}
	if s.provider == "mypos" {
		path, err := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(req.URL.EscapedPath(), "/v1/accounts"), "/balances"))
		return providerRequest{s.provider, req.Header.Get("Consent-ID"), req.Header.Get("X-Request-ID"), strings.TrimPrefix(path, "/")}, err
	}
	var w struct {
		RequestInfo struct{ XRequestID, ConsentID string }
		AccountID   string
	}
	err = json.NewDecoder(req.Body).Decode(&w)
	return providerRequest{s.provider, w.RequestInfo.ConsentID, w.RequestInfo.XRequestID, w.AccountID}, err
}

// respondTo sets the responder of the calls with a consent.
func (s *badServer) respondTo(consent string, how responder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[consent] = how
}

func (s *badServer) calls(consent string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived[consent]
}

// accountOf returns an account that every consent covers.
func accountOf(provider string) string {
	return map[string]string{"mastercard": mastercardsim.Account, "mypos": mypossim.GoodAccount}[provider]
}

// body returns the body of a valid response. If bodies of the provider have the request id, it is
// requestID.
func (q providerRequest) body(requestID string) string {
	switch {
	case q.provider == "mypos" && q.account == "":
		return fmt.Sprintf(`{"accounts":[{"accountNumber":%q,"currency":"PLN","name":%q}]}`, accountOf(q.provider), canary)
	case q.provider == "mypos":
		return fmt.Sprintf(`{"account":{"accountNumber":%q},"balances":[{"amount":4.20,"currency":"PLN","x":%q}]}`, q.account, canary)
	case q.account == "":
		return fmt.Sprintf(`{"originalRequestInfo":{"xRequestId":%q},"accounts":[{"resourceId":%q,"currency":"PLN","name":%q}]}`,
			requestID, accountOf(q.provider), canary)
	}
	return fmt.Sprintf(`{"originalRequestInfo":{"xRequestId":%q},"account":{"resourceId":%q,"name":%q,"balances":[`+
		`{"balanceAmount":{"currency":"PLN","amount":4.20},"creditDebitIndicator":"Credit"}]}}`, requestID, q.account, canary)
}

// good returns the body of a valid response.
func (q providerRequest) good() string { return q.body(q.requestID) }

// with returns the body of a valid response with member before all others.
func (q providerRequest) with(member string) string { return "{" + member + "," + q.good()[1:] }

// records returns the beginning of the list of records in the body of a valid response.
func (q providerRequest) records() string {
	if q.account == "" {
		return `"accounts":[`
	}
	return `"balances":[`
}
