package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"

	gateway "ais-gateway/cmd/gateway"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// Codes of problems.
const (
	noProblem   = "" // a success
	invalid     = "PROVIDER_INVALID_RESPONSE"
	failed      = "PROVIDER_ERROR"
	timedOut    = "PROVIDER_TIMEOUT"
	unavailable = "PROVIDER_UNAVAILABLE"
	throttled   = "PROVIDER_THROTTLED"
)

// badTimeout is the timeout of reads from bad servers. Only the slow ones reach it, also on a busy
// machine with the race detector.
const badTimeout = 20 * time.Second

// A badResponse is one response of a provider, and the problem that the caller gets.
type badResponse struct {
	name               string
	respond            responder
	code               string
	breakerStaysClosed bool   // although the call fails: the provider refused it with a valid response
	balances           bool   // only for balances
	list               bool   // only for the account list
	only               string // the provider that it is from; "" for every provider
	slow               bool
}

// raw returns a responder that writes text with {requestId} replaced.
func raw(text string) responder {
	return func(conn *badConn, q providerRequest) {
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "{requestId}", q.requestID))
	}
}

// reply returns a responder that writes a complete response: the rest of the status line, header
// lines and a body for the request.
func reply(status, header string, body func(q providerRequest) string) responder {
	return func(conn *badConn, q providerRequest) {
		text := body(q)
		conn.complete = true
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(text), text)
	}
}

// success returns a responder that writes status 200 with a body for the request.
func success(body func(q providerRequest) string) responder {
	return reply("200 OK", "Content-Type: application/json\r\n", body)
}

// successWithHeader returns a responder that writes a valid response with a header line.
func successWithHeader(header string) responder {
	return reply("200 OK", header+"\r\n", providerRequest.good)
}

// framed returns a responder that writes status 200, the header lines head, and body without a
// Content-Length.
func framed(head string, body func(q providerRequest) string) responder {
	return func(conn *badConn, q providerRequest) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", head, body(q))
	}
}

// endless returns a responder that writes begin, and then text after each pause until the
// connection is closed.
func endless(begin, text string, pause time.Duration) responder {
	return func(conn *badConn, _ providerRequest) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, text)
			time.Sleep(pause)
		}
	}
}

func constant(body string) func(providerRequest) string {
	return func(providerRequest) string { return body }
}

// inRecords returns a valid body with text at the beginning of its list of records.
func inRecords(text string) func(providerRequest) string {
	return func(q providerRequest) string { return strings.Replace(q.good(), q.records(), q.records()+text, 1) }
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

func utf16LE(s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

// bomb returns 64 MiB of white space and an empty object, compressed to 64 KiB.
var bomb = sync.OnceValue(func() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 64 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_, _ = io.WriteString(z, "{}")
	_ = z.Close()
	return b.String()
})

func bombBody(providerRequest) string { return bomb() }

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

const page = "<html><body>" + canary + "</body></html>"

// badBodies are successful responses with a wrong body or content type, and valid ones that look
// similar.
var badBodies = []badResponse{
	{name: "good", respond: success(providerRequest.good), code: noProblem},
	{name: "empty", respond: success(constant("")), code: invalid},
	{name: "HTML page", respond: reply("200 OK", "Content-Type: text/html\r\n", constant(page)), code: invalid},
	{name: "cut off", respond: success(func(q providerRequest) string { return q.good()[:len(q.good())-5] }), code: invalid},
	{name: "two documents", respond: success(func(q providerRequest) string { return q.good() + q.good() }), code: invalid},
	{name: "text after the document", respond: success(func(q providerRequest) string { return q.good() + canary }), code: invalid},
	{name: "NUL after the document", respond: success(func(q providerRequest) string { return q.good() + "\x00" }), code: invalid},
	{name: "null", respond: success(constant("null")), code: invalid},
	{name: "list of the wrong type", respond: success(func(q providerRequest) string {
		return strings.Replace(q.good(), q.records(), strings.TrimSuffix(q.records(), "[")+`"`+canary+`","x":[`, 1)
	}), code: invalid},
	{name: "null record", respond: success(inRecords("null,")), code: invalid},
	{name: "empty record", respond: success(inRecords("{},")), code: invalid},
	{name: "NaN", respond: success(func(q providerRequest) string { return q.with(`"x":NaN`) }), code: invalid},
	{name: "infinity", respond: success(instead("4.20", "-Infinity")), code: invalid, balances: true},
	{name: "huge exponent", respond: success(instead("4.20", "4e999999999")), code: invalid, balances: true},
	{name: "huge number", respond: success(instead("4.20", strings.Repeat("9", 1<<20))), code: invalid, balances: true},
	{name: "amount as text", respond: success(instead("4.20", `"4,20"`)), code: invalid, balances: true},
	{name: "member twice", respond: success(func(q providerRequest) string { return q.with(`"x":1,"x":2`) }), code: invalid},
	{name: "member twice in different case", respond: success(func(q providerRequest) string { return q.with(`"x":1,"X":2`) }), code: invalid},
	{name: "member twice, one escaped", respond: success(func(q providerRequest) string { return q.with(`"x":1,"\u0078":2`) }), code: invalid},
	{name: "deep", respond: success(func(q providerRequest) string {
		return q.with(`"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40))
	}), code: invalid},
	{name: "endlessly deep", respond: success(constant(strings.Repeat(`{"a":`, 200_000))), code: invalid},
	{name: "too large", respond: success(func(q providerRequest) string { return q.good() + strings.Repeat(" ", 5<<20) }), code: invalid},
	{name: "just not too large", respond: success(func(q providerRequest) string { return q.good() + strings.Repeat(" ", 1<<20-len(q.good())) }), code: noProblem},
	{name: "very many records", respond: success(inRecords(strings.Repeat("{},", 340_000))), code: invalid},
	{name: "very many members", respond: success(func(q providerRequest) string {
		var b strings.Builder
		for i := range 80_000 {
			fmt.Fprintf(&b, `"%x":1,`, i)
		}
		return q.with(b.String() + `"last":1`)
	}), code: invalid},
	{name: "giant name", respond: success(func(q providerRequest) string { return q.with(`"` + strings.Repeat("x", 1_000_000) + `":1`) }), code: noProblem},
	{name: "giant id", respond: success(func(q providerRequest) string {
		return strings.Replace(q.good(), accountOf(q.provider), strings.Repeat("x", 1_000_000), 1)
	}), code: invalid},
	{name: "giant text of an unknown member", respond: success(func(q providerRequest) string { return q.with(`"x":"` + strings.Repeat("x", 1_000_000) + `"`) }), code: noProblem},
	{name: "not UTF-8", respond: success(func(q providerRequest) string { return q.with("\"x\":\"\xff\"") }), code: invalid},
	{name: "half of a surrogate pair", respond: success(func(q providerRequest) string { return q.with(`"x":"\ud83d"`) }), code: noProblem},
	{name: "byte order mark", respond: success(func(q providerRequest) string { return "\ufeff" + q.good() }), code: invalid},
	{name: "UTF-16", respond: success(func(q providerRequest) string { return utf16LE(q.good()) }), code: invalid},
	{name: "UTF-16 with byte order mark", respond: success(func(q providerRequest) string { return utf16LE("\ufeff" + q.good()) }), code: invalid},
	{name: "another charset", respond: successWithHeader("Content-Type: application/json; charset=iso-8859-2"), code: invalid},
	{name: "another charset, of two types", respond: successWithHeader("Content-Type: application/json\r\nContent-Type: text/json;CHARSET=\"utf-16\""), code: invalid},
	{name: "UTF-8 charset", respond: successWithHeader("Content-Type: application/json ; Charset=\"UTF-8\""), code: noProblem},
	{name: "JSON as text", respond: successWithHeader("Content-Type: text/plain"), code: noProblem},
	{name: "JSON as HTML", respond: successWithHeader("Content-Type: text/html; charset=utf-8"), code: noProblem},
	{name: "invalid content type", respond: successWithHeader("Content-Type: ;;;="), code: noProblem},
	{name: "response to another request", respond: func(conn *badConn, q providerRequest) {
		other := uuid.NewString()
		reply("200 OK", idHeader(other), func(q providerRequest) string { return q.body(other) })(conn, q)
	}, code: invalid},
	{name: "another account", respond: success(func(q providerRequest) string { return strings.Replace(q.good(), q.account, "x"+q.account, 1) }), code: invalid, balances: true},
	{name: "gzip bomb", respond: reply("200 OK", "Content-Encoding: gzip\r\n", bombBody), code: invalid},
	{name: "gzip bomb without Content-Encoding", respond: success(bombBody), code: invalid},
	{name: "brotli", respond: successWithHeader("Content-Encoding: br"), code: invalid},
	{name: "deflate", respond: successWithHeader("Content-Encoding: deflate"), code: invalid},
	{name: "several codings", respond: successWithHeader("Content-Encoding: identity, gzip"), code: invalid},
	{name: "several Content-Encoding headers", respond: successWithHeader("Content-Encoding: ,\r\nContent-Encoding: x-gzip"), code: invalid},
	{name: "gzip", respond: reply("200 OK", "Content-Encoding: gzip\r\n", func(q providerRequest) string { return zipped(q.good()) }), code: noProblem},
	{name: "gzip cut off", respond: reply("200 OK", "Content-Encoding: gzip\r\n", func(q providerRequest) string { return zipped(q.good())[:20] }), code: invalid},
	{name: "no coding", respond: successWithHeader("Content-Encoding: identity"), code: noProblem},
}

// badValues are successful responses with a wrong value.
var badValues = []badResponse{
	{name: "two signs", respond: success(instead("4.20", `"--4.20"`)), code: invalid, balances: true},
	{name: "two different signs", respond: success(instead("4.20", `"+-4.20"`)), code: invalid, balances: true},
	{name: "sign at the end", respond: success(instead("4.20", `"4.20-"`)), code: invalid, balances: true},
	{name: "decimal comma and point", respond: success(instead("4.20", `"1.234,20"`)), code: invalid, balances: true},
	{name: "amount with its currency", respond: success(instead("4.20", `"4.20 PLN"`)), code: invalid, balances: true},
	{name: "empty amount", respond: success(instead("4.20", `""`)), code: invalid, balances: true},
	{name: "null amount", respond: success(instead("4.20", `null`)), code: invalid, balances: true},
	{name: "hexadecimal amount", respond: success(instead("4.20", `"0x4"`)), code: invalid, balances: true},
	{name: "currency in small letters", respond: success(instead(`"PLN"`, `"pln"`)), code: invalid},

	{name: "plus sign", only: "berlingroup", respond: success(instead("4.20", `"+4.20"`)), code: noProblem, balances: true},
	{name: "amount as text", only: "berlingroup", respond: success(instead("4.20", `"4.20"`)), code: noProblem, balances: true},
	{name: "no amount", only: "berlingroup", respond: success(instead(`,"amount":4.20`, "")), code: invalid, balances: true},
	{name: "debitAccounting", only: "berlingroup", respond: success(func(q providerRequest) string { return q.with(`"debitAccounting":true`) }), code: invalid, balances: true},
	{name: "error in a success", only: "berlingroup", respond: success(func(q providerRequest) string {
		return q.with(`"tppMessages":[{"category":"ERROR","code":"` + canary + `"}]`)
	}), code: invalid},
	{name: "warning in a success", only: "berlingroup", respond: success(func(q providerRequest) string {
		return q.with(`"tppMessages":[{"category":"WARNING","code":"` + canary + `"}]`)
	}), code: noProblem},
	{name: "card number as id", only: "berlingroup", list: true, code: invalid, respond: success(func(q providerRequest) string {
		return instead(accountOf(q.provider), cardNumber+`","maskedPan":"555555XXXXXX4444`)(q)
	})},
	{name: "card number as id in a link", only: "berlingroup", list: true, code: invalid, respond: success(inRecords(
		`{"cashAccountType":"CARD","_links":{"balances":"/v1/accounts/` + cardNumber + `/balances"}},`))},
	{name: "account without an id", only: "berlingroup", list: true, code: invalid, respond: success(inRecords(
		`{"iban":"BG57INTF40015004462007","_links":{"self":"/v1/accounts/x"}},`))},
	{name: "id that leads elsewhere", only: "berlingroup", list: true, code: invalid, respond: success(inRecords(
		`{"_links":{"balances":"/v1/accounts/%2e%2e/balances"}},{"_links":{"balances":"/v1/accounts/."}},`))},

	{name: "no amount", only: "obie", respond: success(instead(`"Amount":4.20,`, "")), code: invalid, balances: true},
	{name: "amount as text", only: "obie", respond: success(instead("4.20", `"4.20"`)), code: noProblem, balances: true},
	{name: "minus sign and indicator", only: "obie", respond: success(instead("4.20", `"-4.20"`)), code: invalid, balances: true},
	{name: "minus sign and debit", only: "obie", respond: success(instead(`4.20,"Currency":"PLN"},"CreditDebitIndicator":"Credit"`,
		`-4.20,"Currency":"PLN"},"CreditDebitIndicator":"Debit"`)), code: invalid, balances: true},
	{name: "plus sign", only: "obie", respond: success(instead("4.20", `"+4.20"`)), code: invalid, balances: true},
	{name: "no indicator", only: "obie", respond: success(instead(`"CreditDebitIndicator":"Credit",`, "")), code: invalid, balances: true},
	{name: "unknown indicator", only: "obie", respond: success(instead(`"Credit"`, `"`+canary+`"`)), code: invalid, balances: true},
	{name: "balance of another account beside it", only: "obie", respond: success(inRecords(
		`{"AccountId":"` + canary + `","Amount":{"Amount":"1","Currency":"PLN"},"CreditDebitIndicator":"Debit"},`)), code: invalid, balances: true},
	{name: "error in a success", only: "obie", respond: success(func(q providerRequest) string {
		return q.with(`"Errors":[{"ErrorCode":"` + canary + `"}]`)
	}), code: invalid},
	{name: "card number as id", only: "obie", list: true, code: invalid, respond: success(func(q providerRequest) string {
		return instead(accountOf(q.provider), cardNumber+`","AccountSubType":"CreditCard`)(q)
	})},
	{name: "card number as id and number", only: "obie", list: true, code: invalid, respond: success(func(q providerRequest) string {
		return instead(accountOf(q.provider), cardNumber+`","Account":[{"SchemeName":"UK.OBIE.PAN","Identification":"`+cardNumber+`"}],"x":"`)(q)
	})},
}

// cardNumber is a full card number, of no card.
const cardNumber = "5555555555554444"

// instead returns a valid body in which a text is replaced.
func instead(old, text string) func(providerRequest) string {
	return func(q providerRequest) string {
		if !strings.Contains(q.good(), old) {
			panic("a response of " + q.provider + " has no " + old)
		}
		return strings.Replace(q.good(), old, text, 1)
	}
}

// badMessages are not valid HTTP, or end too early, too late or never, with valid ones that look
// similar.
var badMessages = []badResponse{
	{name: "length too large", respond: func(conn *badConn, q providerRequest) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, q.good())
	}, code: failed},
	{name: "length too small", respond: func(conn *badConn, q providerRequest) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(q.good())-1, q.good())
	}, code: invalid},
	{name: "second response after it", respond: func(conn *badConn, q providerRequest) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %[1]d\r\n\r\n%[2]sHTTP/1.1 200 OK\r\nX-A: "+canary+"\r\nContent-Length: %[1]d\r\n\r\n%[2]s", len(q.good()), q.good())
	}, code: noProblem},
	{name: "no length", respond: framed("Connection: close", providerRequest.good), code: noProblem},
	{name: "negative length", respond: framed("Content-Length: -1", providerRequest.good), code: invalid},
	{name: "length overflows", respond: framed("Content-Length: 99999999999999999999", providerRequest.good), code: invalid},
	{name: "two lengths", respond: framed("Content-Length: 2\r\nContent-Length: 3", providerRequest.good), code: invalid},
	{name: "chunks", respond: framed("Transfer-Encoding: chunked\r\nConnection: close", func(q providerRequest) string { return chunk(q.good()) + "0\r\n\r\n" }), code: noProblem},
	{name: "chunk size is no number", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return "zz\r\n" + q.good() }), code: invalid},
	{name: "chunk size overflows", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return "fffffffffffffffff\r\n" + q.good() }), code: invalid},
	{name: "negative chunk size", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return "-5\r\n" + q.good() }), code: invalid},
	{name: "chunk size too small", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return "2\r\n" + q.good() }), code: invalid},
	{name: "chunk extension too long", respond: framed("Transfer-Encoding: chunked", func(providerRequest) string { return "2;" + strings.Repeat("x", 1<<16) + "\r\n{}\r\n0\r\n\r\n" }), code: invalid},
	{name: "chunks of one byte with long extensions", respond: framed("Transfer-Encoding: chunked", func(providerRequest) string { return strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\n \r\n", 100) }), code: invalid},
	{name: "chunks cut off", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return chunk(q.good())[:20] }), code: failed},
	{name: "chunks without end", respond: framed("Transfer-Encoding: chunked", func(q providerRequest) string { return chunk(q.good()) }), code: failed},
	{name: "endless chunks", respond: endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(strings.Repeat(" ", 1<<16)), 0), code: invalid},
	{name: "endless trailer", respond: endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\n{}\r\n0\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n", 0), code: invalid},
	{name: "compressed transfer coding", respond: framed("Transfer-Encoding: gzip, chunked", bombBody), code: invalid},
	{name: "invalid transfer coding", respond: framed("Transfer-Encoding: \x0bchunked", providerRequest.good), code: invalid},
	{name: "chunked twice", respond: framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", func(q providerRequest) string { return chunk(chunk(q.good())) }), code: invalid},
	{name: "not HTTP", respond: raw("SSH-2.0-OpenSSH_9.9 " + canary + "\r\n\r\n"), code: invalid},
	{name: "HTTP/0.9", respond: func(conn *badConn, q providerRequest) { _, _ = io.WriteString(conn, q.good()) }, code: invalid},
	{name: "HTTP/2 without negotiation", respond: raw("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), code: invalid},
	{name: "status of letters", respond: raw("HTTP/1.1 OK 200\r\n\r\n"), code: invalid},
	{name: "status 099", respond: reply("099 What", "", providerRequest.good), code: invalid},
	{name: "status +20", respond: reply("+20 What", "", providerRequest.good), code: invalid},
	{name: "status 600", respond: reply("600 What", "", providerRequest.good), code: invalid},
	{name: "status 999", respond: reply("999 "+canary, "", providerRequest.good), code: invalid},
	{name: "another protocol", respond: raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), code: invalid},
	{name: "header without a name", respond: framed(": x", providerRequest.good), code: invalid},
	{name: "header with a space in its name", respond: successWithHeader("X Y: " + canary), code: noProblem},
	{name: "header without a colon", respond: framed(canary, providerRequest.good), code: invalid},
	{name: "header of control characters", respond: successWithHeader("X-A: \x01\x02\x1b[31m" + canary), code: invalid},
	{name: "endless headers", respond: endless("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n", 0), code: invalid},
	{name: "endless header line", respond: endless("HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000), 0), code: invalid},
	{name: "100 first", respond: func(conn *badConn, q providerRequest) {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		success(providerRequest.good)(conn, q)
	}, code: noProblem},
	{name: "endless 100", respond: endless("", "HTTP/1.1 100 Continue\r\n\r\n", 0), code: invalid},
	{name: "endless 103", respond: endless("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0), code: invalid},
	{name: "103 only", respond: raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), code: failed},
	{name: "nothing", respond: raw(""), code: failed},
	{name: "reset", respond: func(conn *badConn, _ providerRequest) { _ = conn.SetLinger(0); conn.Close() }, code: failed},
	{name: "reset in the header", respond: func(conn *badConn, _ providerRequest) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-A:")
		time.Sleep(50 * time.Millisecond)
		_ = conn.SetLinger(0)
		conn.Close()
	}, code: failed},
	{name: "silence", respond: func(conn *badConn, _ providerRequest) { _, _ = io.Copy(io.Discard, conn) }, code: timedOut, slow: true},
	{name: "drips a body", respond: endless("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", " ", 50*time.Millisecond), code: timedOut, slow: true},
	{name: "drips a header", respond: endless("HTTP/1.1 200 OK\r\nX-A: ", "a", 50*time.Millisecond), code: timedOut, slow: true},
	{name: "drips hints", respond: endless("", "HTTP/1.1 103 Early Hints\r\n\r\n", 50*time.Millisecond), code: timedOut, slow: true},
	{name: "drips a status", respond: endless("HTTP/1.1 200 ", "O", 50*time.Millisecond), code: timedOut, slow: true},
}

// badRefusals have a status other than 200.
var badRefusals = func() []badResponse {
	all := []badResponse{
		{name: "204", respond: raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), code: invalid},
		{name: "205", respond: reply("205 Reset Content", "", constant("")), code: invalid},
		{name: "206", respond: reply("206 Partial Content", "Content-Range: bytes 0-1/9\r\n", providerRequest.good), code: invalid},
		{name: "304", respond: raw("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"), code: invalid},
		{name: "500 with HTML", respond: reply("500 Oh", "Content-Type: text/html\r\n", constant(page)), code: failed},
		{name: "500 in another charset", respond: reply("500 Oh", "Content-Type: text/html; charset=koi8-r\r\n", constant("\xf0\xf1")), code: failed},
		{name: "500 compressed", respond: reply("500 Oh", "Content-Encoding: gzip\r\n", bombBody), code: failed},
		{name: "500 too large", respond: reply("500 Oh", "", constant(strings.Repeat(" ", 5<<20))), code: failed},
		{name: "500 with very many words", respond: reply("500 Oh", "", constant(`{"code":"x","text":"`+strings.Repeat("a ", 240_000)+`","Errors":{"Error":[{"Description":"`+strings.Repeat("a ", 240_000)+`"}]}}`)), code: failed},
		{name: "500 with many errors", respond: reply("500 Oh", "", constant(`{"tppMessages":[{"text":"a"}`+strings.Repeat(`,{"text":"limit of consent"}`, 9_000)+`],"Errors":{"Error":[{"Description":"a"}`+strings.Repeat(`,{"Description":"token limit"}`, 9_000)+`]}}`)), code: failed},
		{name: "500 with very many errors", respond: reply("500 Oh", "", constant(`{"tppMessages":[{}`+strings.Repeat(`,{}`, 340_000)+`]}`)), code: failed},
		{name: "500 for another request", respond: foreignRefusal("500 Oh", ""), code: invalid},
		{name: "400 for another request", respond: foreignRefusal("400 No", ""), code: invalid, breakerStaysClosed: true},
		{name: "429 for another request", respond: foreignRefusal("429 No", "Retry-After: 3600\r\n"), code: invalid, breakerStaysClosed: true},
	}
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		all = append(all, badResponse{name: status, code: invalid, respond: reply(status+" Elsewhere", "Location: /v1/accounts\r\n", providerRequest.good)})
	}
	for _, wait := range []string{"-1", "0", "99999999999999999999", "4294967295", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "\xff\xfe", canary, "1, 2"} {
		all = append(all,
			badResponse{name: "503 until " + strconv.Quote(wait), code: unavailable, respond: reply("503 No", "Retry-After: "+wait+"\r\n", constant(page))},
			badResponse{name: "429 until " + strconv.Quote(wait), code: throttled, breakerStaysClosed: true, respond: reply("429 No", "Retry-After: "+wait+"\r\n", constant(page))})
	}
	return all
}()

// idHeader returns the header lines with which providers return the id of a request.
func idHeader(id string) string {
	return "X-Request-ID: " + id + "\r\nX-Fapi-Interaction-Id: " + id + "\r\n"
}

// foreignRefusal returns a responder that writes the refusal of another request, because its limit
// is used up.
func foreignRefusal(status, header string) responder {
	other := uuid.NewString()
	return reply(status, header+idHeader(other), constant(`{"originalRequestInfo":{"xRequestId":"`+other+
		`"},"Errors":{"Error":[{"ReasonCode":"ACCESS_EXCEEDED","Description":"`+canary+`"}]},"tppMessages":[{"code":"ACCESS_EXCEEDED"}]}`))
}

// A trial is one read from one ASPSP, to which the provider sends a badResponse.
type trial struct {
	badResponse
	server         *badServer
	aspsp, consent string
	attended       bool // reads balances if true, and the account list if false
}

func (r trial) String() string {
	return fmt.Sprintf("%s: %s, attended %t", r.server.provider, r.name, r.attended)
}

// TestBadResponses checks that for every bad response the caller gets the right problem in time,
// the breaker counts failures, nothing is cached, each unattended call that was sent is counted
// once, and no text of the provider is returned or logged.
func TestBadResponses(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	bomb() // made before the timeouts start, because it takes long
	var trials []trial
	for _, provider := range badProviders {
		server := openBadServer(t, provider)
		for _, b := range slices.Concat(badBodies, badValues, badMessages, badRefusals) {
			for _, attended := range []bool{true, false} {
				if b.balances && !attended || b.list && attended || b.only != "" && b.only != provider {
					continue
				}
				r := trial{b, server, uuid.NewString(), uuid.NewString(), attended}
				server.respondTo(r.consent, b.respond)
				trials = append(trials, r)
			}
		}
	}
	logs := new(gatewaytest.Output)
	api, stop, err := gateway.Run(t.Context(), gatewaytest.EditConfig(t, w, func(text string) string { return configFor(text, trials) }), logs)
	if err != nil {
		t.Fatal(err)
	}
	stopped := sync.OnceFunc(stop)
	t.Cleanup(stopped)
	quick := make(chan struct{}, 4) // limits concurrent trials that end quickly
	var done sync.WaitGroup
	for _, r := range trials {
		done.Go(func() {
			if !r.slow {
				quick <- struct{}{}
				defer func() { <-quick }()
			}
			r.run(t, api)
		})
	}
	done.Wait()
	stopped()
	if out := logs.String(); strings.Contains(out, canary) || strings.Contains(out, "panic") {
		t.Errorf("the log has text of providers, or a panic:\n%.4000s", out)
	}
}

// configFor returns a configuration with the ASPSPs of the trials, whose breakers open at the first
// failure.
func configFor(text string, trials []trial) string {
	var aspsps strings.Builder
	for _, r := range trials {
		fmt.Fprintf(&aspsps, "  - {id: %s, name: x, provider: %s, breaker: {consecutiveFailures: 1, openFor: 1h}}\n", r.aspsp, r.server.provider)
	}
	configured := map[*badServer]bool{}
	for _, r := range trials {
		if !configured[r.server] {
			configured[r.server], text = true, withBaseURL(text, r.server, badTimeout)
		}
	}
	return regexp.MustCompile(`(?s)(\naspsps:\n).*(\ncache: )`).ReplaceAllString(text, "${1}"+aspsps.String()+"${2}")
}

// withBaseURL returns a configuration in which the provider of s and its ASPSPs have the URL of s,
// and the provider has a timeout.
func withBaseURL(text string, s *badServer, timeout time.Duration) string {
	provider := regexp.MustCompile(`(\n  ` + s.provider + `: \{)(baseURL: "[^"]*"(, )?)?`)
	text = provider.ReplaceAllString(text, fmt.Sprintf(`${1}timeout: %v, baseURL: %q, `, timeout, s.base))
	aspsp := regexp.MustCompile(`(provider: ` + s.provider + `,?\s+options: \{[^{}]*baseURL: )"[^"]*"`)
	return aspsp.ReplaceAllString(text, fmt.Sprintf("${1}%q", s.base))
}

// run makes the call of a trial, and checks the response, the number of calls, the breaker, the
// counter and the cache.
func (r trial) run(t *testing.T, api string) {
	header := []string{"Consent-ID", r.consent, "Provider-Authorization", "Bearer " + r.consent}
	call, aspsp := header, api+"/v1/aspsps/"+r.aspsp
	target := aspsp + "/accounts"
	if r.attended {
		call, target = append(header, "PSU-IP-Address", "203.0.113.7"), target+"/"+accountOf(r.server.provider)+"/balances"
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, target, call...)
	var got struct {
		Code, Origin  string
		ProviderError *struct{ HTTPStatus int }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Code != r.code || (r.code == noProblem) != (resp.StatusCode == http.StatusOK) {
		t.Errorf("%v: answered %d %.500s, want %q", r, resp.StatusCode, body, r.code)
	}
	if r.code != noProblem {
		out := fmt.Sprint(resp.Header, body)
		e := got.ProviderError
		if strings.Contains(out, canary) || got.Origin != "provider" || e != nil && (e.HTTPStatus < 200 || e.HTTPStatus > 599) {
			t.Errorf("%v: %s", r, out)
		}
		if wait := resp.Header.Get("Retry-After"); wait != "" {
			if n, err := strconv.Atoi(wait); err != nil || n < 1 || n > 31*24*3600 {
				t.Errorf("%v: Retry-After is %q", r, wait)
			}
		}
	}
	// An attended call that failed before its response began may be sent again.
	if n := r.server.calls(r.consent); n != 1 && (n != 2 || !r.attended || r.code != failed) {
		t.Errorf("%v: %d calls arrived", r, n)
	}
	state := "open"
	// Invalid data with status 200 does not count as a failure of the ASPSP; every other invalid
	// response does.
	if e := got.ProviderError; r.code == noProblem || r.breakerStaysClosed || r.code == invalid && (e == nil || e.HTTPStatus == http.StatusOK) {
		state = "closed"
	}
	if _, body := gatewaytest.Call(t, http.MethodGet, aspsp); !strings.Contains(body, `"state":"`+state+`"`) {
		t.Errorf("%v: %s, want the breaker %s", r, body, state)
	}
	if r.attended {
		return
	}
	if _, body := gatewaytest.Call(t, http.MethodGet, aspsp+"/unattended-access", header...); !strings.Contains(body, `"used":1,"remaining":3`) {
		t.Errorf("%v: %s", r, body)
	}
	kept := r.hasCachedList(t, api, r.consent)
	for range 10 { // on a busy machine Redis may be too slow to store a list: try again with another consent
		if kept || r.code != noProblem {
			break
		}
		again := uuid.NewString()
		r.server.respondTo(again, r.respond)
		gatewaytest.Call(t, http.MethodGet, target, "Consent-ID", again, "Provider-Authorization", "Bearer "+again)
		kept = r.hasCachedList(t, api, again)
	}
	if kept != (r.code == noProblem) {
		t.Errorf("%v: kept is %t", r, kept)
	}
}

// hasCachedList reports whether there is a cached list of the trial's ASPSP and a consent.
func (r trial) hasCachedList(t *testing.T, api, consent string) bool {
	t.Helper()
	resp, _ := gatewaytest.Call(t, http.MethodGet, api+"/v1/aspsps/"+r.aspsp+"/accounts", "Cache-Control", "only-if-cached",
		"Consent-ID", consent, "Provider-Authorization", "Bearer "+consent)
	return resp.StatusCode == http.StatusOK
}
