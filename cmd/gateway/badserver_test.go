package main_test

import (
	"bufio"
	"encoding/json"
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

// badProviders are the providers that a badServer can be.
var badProviders = []string{"mastercard", "mypos", "berlingroup", "obie"}

// A providerRequest is a request of the gateway to a provider.
type providerRequest struct {
	provider, consent, requestID, account string // account is "" for the account list
	host, path, page                      string // page is "" for the first page
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
	if s.provider != "mastercard" {
		q := providerRequest{provider: s.provider, host: req.Host, path: req.URL.EscapedPath(), page: req.URL.Query().Get("page")}
		q.consent, q.requestID = req.Header.Get("Consent-ID"), req.Header.Get("X-Request-ID")
		if s.provider == "obie" { // knows the consent by its token: the tests send the consent as token
			q.consent, q.requestID = strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), req.Header.Get("X-Fapi-Interaction-Id")
		}
		_, account, _ := strings.Cut(strings.TrimSuffix(req.URL.EscapedPath(), "/balances"), "/accounts")
		q.account, err = url.PathUnescape(strings.TrimPrefix(account, "/"))
		return q, err
	}
	var w struct {
		RequestInfo struct{ XRequestID, ConsentID string }
		AccountID   string
	}
	err = json.NewDecoder(req.Body).Decode(&w)
	return providerRequest{provider: s.provider, consent: w.RequestInfo.ConsentID, requestID: w.RequestInfo.XRequestID, account: w.AccountID}, err
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
	switch provider {
	case "mastercard":
		return mastercardsim.Account
	case "mypos":
		return mypossim.GoodAccount
	}
	return "account-77"
}

// goodBodies are the bodies of valid responses of each provider: of the account list, and of the
// balances of an account.
var goodBodies = map[string][2]string{
	"mastercard": {
		`{"originalRequestInfo":{"xRequestId":"{requestId}"},"accounts":[{"resourceId":"{account}","currency":"PLN","name":"{canary}"}]}`,
		`{"originalRequestInfo":{"xRequestId":"{requestId}"},"account":{"resourceId":"{account}","name":"{canary}","balances":[` +
			`{"balanceAmount":{"currency":"PLN","amount":4.20},"creditDebitIndicator":"Credit"}]}}`,
	},
	"mypos": {
		`{"accounts":[{"accountNumber":"{account}","currency":"PLN","name":"{canary}"}]}`,
		`{"account":{"accountNumber":"{account}"},"balances":[{"amount":4.20,"currency":"PLN","x":"{canary}"}]}`,
	},
	"berlingroup": {
		`{"accounts":[{"resourceId":"{account}","currency":"PLN","ownerName":"{canary}"}]}`,
		`{"account":{"resourceId":"{account}"},"balances":[{"balanceAmount":{"currency":"PLN","amount":4.20},"balanceType":"expected","x":"{canary}"}]}`,
	},
	"obie": {
		`{"Data":{"Account":[{"AccountId":"{account}","Currency":"PLN","Nickname":"{canary}"}]}}`,
		`{"Data":{"Balance":[{"AccountId":"{account}","Amount":{"Amount":4.20,"Currency":"PLN"},"CreditDebitIndicator":"Credit","Type":"Expected","x":"{canary}"}]}}`,
	},
}

// body returns the body of a valid response. If bodies of the provider have the request id, it is
// requestID.
func (q providerRequest) body(requestID string) string {
	text, account := goodBodies[q.provider][0], accountOf(q.provider)
	if q.account != "" {
		text, account = goodBodies[q.provider][1], q.account
	}
	return strings.NewReplacer("{requestId}", requestID, "{account}", account, "{canary}", canary).Replace(text)
}

// good returns the body of a valid response.
func (q providerRequest) good() string { return q.body(q.requestID) }

// with returns the body of a valid response with member before all others.
func (q providerRequest) with(member string) string { return "{" + member + "," + q.good()[1:] }

// records returns the beginning of the list of records in the body of a valid response.
func (q providerRequest) records() string {
	name := "accounts"
	if q.account != "" {
		name = "balances"
	}
	if q.provider == "obie" {
		name = strings.ToUpper(name[:1]) + name[1:len(name)-1]
	}
	return `"` + name + `":[`
}
