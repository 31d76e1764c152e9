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
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/sandbox"
)

// Codes of problems, in short.
const (
	fine     = "" // a success
	invalid  = "PROVIDER_INVALID_RESPONSE"
	broken   = "PROVIDER_ERROR"
	late     = "PROVIDER_TIMEOUT"
	away     = "PROVIDER_UNAVAILABLE"
	throttle = "PROVIDER_THROTTLED"
)

// badTimeout is what a read has against bad servers.
const badTimeout = 5 * time.Second

// A badAnswer is one thing that a provider may do, and what callers get of it.
type badAnswer struct {
	name     string
	answer   answers
	code     string
	alive    bool // though it failed, it counts nothing against the ASPSP: it was refused in good order
	balances bool // no such answer is a list
	slow     bool
}

// raw writes a text, with {requestId} replaced.
func raw(text string) answers {
	return func(conn *line, a question) {
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "{requestId}", a.requestID))
	}
}

// says answers with a status line's end, header lines and a body made for the question.
func says(status, header string, body func(a question) string) answers {
	return func(conn *line, a question) {
		text := body(a)
		conn.whole = true
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(text), text)
	}
}

// shows is a success with a body made for the question.
func shows(body func(a question) string) answers {
	return says("200 OK", "Content-Type: application/json\r\n", body)
}

// under is a good answer with a header of its own.
func headed(header string) answers { return says("200 OK", header+"\r\n", question.good) }

// coded is a good answer with another framing: head ends the header, and body the message.
func framed(head string, body func(a question) string) answers {
	return func(conn *line, a question) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", head, body(a))
	}
}

// forever writes a text again and again, with a pause between, until nobody listens.
func forever(begin, text string, pause time.Duration) answers {
	return func(conn *line, _ question) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, text)
			time.Sleep(pause)
		}
	}
}

func constant(body string) func(question) string { return func(question) string { return body } }

// inRecords is a good answer with something at the beginning of its list of records.
func inRecords(text string) func(question) string {
	return func(a question) string { return strings.Replace(a.good(), a.records(), a.records()+text, 1) }
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

func wide(s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

// bomb is 64 MiB of white space and an empty object, in 64 KiB.
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

func bombed(question) string { return bomb() }

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

const page = "<html><body>" + canary + "</body></html>"

// badBodies are successes that hold, or call themselves, what they should not.
var badBodies = []badAnswer{
	{name: "good", answer: shows(question.good), code: fine},
	{name: "empty", answer: shows(constant("")), code: invalid},
	{name: "page for people", answer: says("200 OK", "Content-Type: text/html\r\n", constant(page)), code: invalid},
	{name: "cut off", answer: shows(func(a question) string { return a.good()[:len(a.good())-5] }), code: invalid},
	{name: "two documents", answer: shows(func(a question) string { return a.good() + a.good() }), code: invalid},
	{name: "garbage after", answer: shows(func(a question) string { return a.good() + canary }), code: invalid},
	{name: "NUL after", answer: shows(func(a question) string { return a.good() + "\x00" }), code: invalid},
	{name: "null", answer: shows(constant("null")), code: invalid},
	{name: "list of the wrong type", answer: shows(func(a question) string {
		return strings.Replace(a.good(), a.records(), a.records()[:11]+`"`+canary+`","x":[`, 1)
	}), code: invalid},
	{name: "null record", answer: shows(inRecords("null,")), code: invalid},
	{name: "empty record", answer: shows(inRecords("{},")), code: invalid},
	{name: "NaN", answer: shows(func(a question) string { return a.with(`"x":NaN`) }), code: invalid},
	{name: "infinity", answer: shows(func(a question) string { return strings.Replace(a.good(), "4.20", "-Infinity", 1) }), code: invalid, balances: true},
	{name: "huge exponent", answer: shows(func(a question) string { return strings.Replace(a.good(), "4.20", "4e999999999", 1) }), code: invalid, balances: true},
	{name: "huge number", answer: shows(func(a question) string { return strings.Replace(a.good(), "4.20", strings.Repeat("9", 1<<20), 1) }), code: invalid, balances: true},
	{name: "amount as text", answer: shows(func(a question) string { return strings.Replace(a.good(), "4.20", `"4,20"`, 1) }), code: invalid, balances: true},
	{name: "member twice", answer: shows(func(a question) string { return a.with(`"x":1,"x":2`) }), code: invalid},
	{name: "member twice but for case", answer: shows(func(a question) string { return a.with(`"x":1,"X":2`) }), code: invalid},
	{name: "member twice, one escaped", answer: shows(func(a question) string { return a.with(`"x":1,"\u0078":2`) }), code: invalid},
	{name: "deep", answer: shows(func(a question) string { return a.with(`"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)) }), code: invalid},
	{name: "endlessly deep", answer: shows(constant(strings.Repeat(`{"a":`, 200_000))), code: invalid},
	{name: "too large", answer: shows(func(a question) string { return a.good() + strings.Repeat(" ", 5<<20) }), code: invalid},
	{name: "just not too large", answer: shows(func(a question) string { return a.good() + strings.Repeat(" ", 1<<20-len(a.good())) }), code: fine},
	{name: "very many records", answer: shows(inRecords(strings.Repeat("{},", 340_000))), code: invalid},
	{name: "very many members", answer: shows(func(a question) string {
		var b strings.Builder
		for i := range 80_000 {
			fmt.Fprintf(&b, `"%x":1,`, i)
		}
		return a.with(b.String() + `"last":1`)
	}), code: invalid},
	{name: "giant name", answer: shows(func(a question) string { return a.with(`"` + strings.Repeat("x", 1_000_000) + `":1`) }), code: fine},
	{name: "giant id", answer: shows(func(a question) string {
		return strings.Replace(a.good(), accountOf(a.provider), strings.Repeat("x", 1_000_000), 1)
	}), code: invalid},
	{name: "giant text that nobody reads", answer: shows(func(a question) string { return a.with(`"x":"` + strings.Repeat("x", 1_000_000) + `"`) }), code: fine},
	{name: "not UTF-8", answer: shows(func(a question) string { return a.with("\"x\":\"\xff\"") }), code: invalid},
	{name: "half a character", answer: shows(func(a question) string { return a.with(`"x":"\ud83d"`) }), code: fine},
	{name: "byte order mark", answer: shows(func(a question) string { return "\ufeff" + a.good() }), code: invalid},
	{name: "UTF-16", answer: shows(func(a question) string { return wide(a.good()) }), code: invalid},
	{name: "UTF-16 with its mark", answer: shows(func(a question) string { return wide("\ufeff" + a.good()) }), code: invalid},
	{name: "another charset", answer: headed("Content-Type: application/json; charset=iso-8859-2"), code: invalid},
	{name: "another charset, of two types", answer: headed("Content-Type: application/json\r\nContent-Type: text/json;CHARSET=\"utf-16\""), code: invalid},
	{name: "its own charset", answer: headed("Content-Type: application/json ; Charset=\"UTF-8\""), code: fine},
	{name: "JSON as text", answer: headed("Content-Type: text/plain"), code: fine},
	{name: "JSON as a page", answer: headed("Content-Type: text/html; charset=utf-8"), code: fine},
	{name: "a type that is none", answer: headed("Content-Type: ;;;="), code: fine},
	{name: "another's request", answer: func(conn *line, a question) {
		other := uuid.NewString()
		says("200 OK", "X-Request-ID: "+other+"\r\n", func(a question) string { return a.body(other) })(conn, a)
	}, code: invalid},
	{name: "another's account", answer: shows(func(a question) string { return strings.Replace(a.good(), a.account, "x"+a.account, 1) }), code: invalid, balances: true},
	{name: "gzip bomb", answer: says("200 OK", "Content-Encoding: gzip\r\n", bombed), code: invalid},
	{name: "gzip bomb that does not tell", answer: shows(bombed), code: invalid},
	{name: "brotli", answer: headed("Content-Encoding: br"), code: invalid},
	{name: "deflate", answer: headed("Content-Encoding: deflate"), code: invalid},
	{name: "several codings", answer: headed("Content-Encoding: identity, gzip"), code: invalid},
	{name: "several headers of codings", answer: headed("Content-Encoding: ,\r\nContent-Encoding: x-gzip"), code: invalid},
	{name: "gzip", answer: says("200 OK", "Content-Encoding: gzip\r\n", func(a question) string { return zipped(a.good()) }), code: fine},
	{name: "gzip cut off", answer: says("200 OK", "Content-Encoding: gzip\r\n", func(a question) string { return zipped(a.good())[:20] }), code: invalid},
	{name: "no coding", answer: headed("Content-Encoding: identity"), code: fine},
}

// badMessages are no good HTTP, or say what no answer says.
var badMessages = []badAnswer{
	{name: "length too large", answer: func(conn *line, a question) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, a.good())
	}, code: broken},
	{name: "length too small", answer: func(conn *line, a question) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(a.good())-1, a.good())
	}, code: invalid},
	{name: "another's answer behind it", answer: func(conn *line, a question) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %[1]d\r\n\r\n%[2]sHTTP/1.1 200 OK\r\nX-A: "+canary+"\r\nContent-Length: %[1]d\r\n\r\n%[2]s", len(a.good()), a.good())
	}, code: fine},
	{name: "length none", answer: framed("Connection: close", question.good), code: fine},
	{name: "length negative", answer: framed("Content-Length: -1", question.good), code: invalid},
	{name: "length endless", answer: framed("Content-Length: 99999999999999999999", question.good), code: invalid},
	{name: "lengths two", answer: framed("Content-Length: 2\r\nContent-Length: 3", question.good), code: invalid},
	{name: "chunks", answer: framed("Transfer-Encoding: chunked\r\nConnection: close", func(a question) string { return chunk(a.good()) + "0\r\n\r\n" }), code: fine},
	{name: "chunks of no number", answer: framed("Transfer-Encoding: chunked", func(a question) string { return "zz\r\n" + a.good() }), code: invalid},
	{name: "chunk larger than any", answer: framed("Transfer-Encoding: chunked", func(a question) string { return "fffffffffffffffff\r\n" + a.good() }), code: invalid},
	{name: "chunk negative", answer: framed("Transfer-Encoding: chunked", func(a question) string { return "-5\r\n" + a.good() }), code: invalid},
	{name: "chunk that does not end", answer: framed("Transfer-Encoding: chunked", func(a question) string { return "2\r\n" + a.good() }), code: invalid},
	{name: "chunk with a line too long", answer: framed("Transfer-Encoding: chunked", func(question) string { return "2;" + strings.Repeat("x", 1<<16) + "\r\n{}\r\n0\r\n\r\n" }), code: invalid},
	{name: "chunks of one byte and much about them", answer: framed("Transfer-Encoding: chunked", func(question) string { return strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\n \r\n", 100) }), code: invalid},
	{name: "chunks cut off", answer: framed("Transfer-Encoding: chunked", func(a question) string { return chunk(a.good())[:20] }), code: broken},
	{name: "chunks without end", answer: framed("Transfer-Encoding: chunked", func(a question) string { return chunk(a.good()) }), code: broken},
	{name: "chunks for ever", answer: forever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(strings.Repeat(" ", 1<<16)), 0), code: invalid},
	{name: "trailer for ever", answer: forever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\n{}\r\n0\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n", 0), code: invalid},
	{name: "compressed on the way", answer: framed("Transfer-Encoding: gzip, chunked", bombed), code: invalid},
	{name: "coding of its own", answer: framed("Transfer-Encoding: \x0bchunked", question.good), code: invalid},
	{name: "coding twice", answer: framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", func(a question) string { return chunk(chunk(a.good())) }), code: invalid},
	{name: "no HTTP", answer: raw("SSH-2.0-OpenSSH_9.9 " + canary + "\r\n\r\n"), code: invalid},
	{name: "HTTP/0.9", answer: func(conn *line, a question) { _, _ = io.WriteString(conn, a.good()) }, code: invalid},
	{name: "HTTP/2 unasked", answer: raw("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), code: invalid},
	{name: "status of letters", answer: raw("HTTP/1.1 OK 200\r\n\r\n"), code: invalid},
	{name: "status 099", answer: says("099 What", "", question.good), code: invalid},
	{name: "status +20", answer: says("+20 What", "", question.good), code: invalid},
	{name: "status 600", answer: says("600 What", "", question.good), code: invalid},
	{name: "status 999", answer: says("999 "+canary, "", question.good), code: invalid},
	{name: "another protocol", answer: raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), code: invalid},
	{name: "header without a name", answer: framed(": x", question.good), code: invalid},
	{name: "header with a space in its name", answer: headed("X Y: " + canary), code: fine},
	{name: "header without a colon", answer: framed(canary, question.good), code: invalid},
	{name: "header of control characters", answer: headed("X-A: \x01\x02\x1b[31m" + canary), code: invalid},
	{name: "headers for ever", answer: forever("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n", 0), code: invalid},
	{name: "header without end", answer: forever("HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000), 0), code: invalid},
	{name: "100 first", answer: func(conn *line, a question) {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		shows(question.good)(conn, a)
	}, code: fine},
	{name: "100 for ever", answer: forever("", "HTTP/1.1 100 Continue\r\n\r\n", 0), code: invalid},
	{name: "103 for ever", answer: forever("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0), code: invalid},
	{name: "103 and no more", answer: raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), code: broken},
	{name: "nothing", answer: raw(""), code: broken},
	{name: "reset", answer: func(conn *line, _ question) { _ = conn.SetLinger(0); conn.Close() }, code: broken},
	{name: "reset in the header", answer: func(conn *line, _ question) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-A:")
		time.Sleep(50 * time.Millisecond)
		_ = conn.SetLinger(0)
		conn.Close()
	}, code: broken},
	{name: "silence", answer: func(conn *line, _ question) { _, _ = io.Copy(io.Discard, conn) }, code: late, slow: true},
	{name: "drips a body", answer: forever("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", " ", 50*time.Millisecond), code: late, slow: true},
	{name: "drips a header", answer: forever("HTTP/1.1 200 OK\r\nX-A: ", "a", 50*time.Millisecond), code: late, slow: true},
	{name: "drips hints", answer: forever("", "HTTP/1.1 103 Early Hints\r\n\r\n", 50*time.Millisecond), code: late, slow: true},
	{name: "drips a status", answer: forever("HTTP/1.1 200 ", "O", 50*time.Millisecond), code: late, slow: true},
}

// badRefusals are other statuses than a success.
var badRefusals = func() []badAnswer {
	all := []badAnswer{
		{name: "204", answer: raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), code: invalid},
		{name: "205", answer: says("205 Reset Content", "", constant("")), code: invalid},
		{name: "206", answer: says("206 Partial Content", "Content-Range: bytes 0-1/9\r\n", question.good), code: invalid},
		{name: "304", answer: raw("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"), code: invalid},
		{name: "500 for people", answer: says("500 Oh", "Content-Type: text/html\r\n", constant(page)), code: broken},
		{name: "500 in another charset", answer: says("500 Oh", "Content-Type: text/html; charset=koi8-r\r\n", constant("\xf0\xf1")), code: broken},
		{name: "500 compressed", answer: says("500 Oh", "Content-Encoding: gzip\r\n", bombed), code: broken},
		{name: "500 too large", answer: says("500 Oh", "", constant(strings.Repeat(" ", 5<<20))), code: broken},
		{name: "500 of words", answer: says("500 Oh", "", constant(`{"code":"x","text":"`+strings.Repeat("a ", 240_000)+`","Errors":{"Error":[{"Description":"`+strings.Repeat("a ", 240_000)+`"}]}}`)), code: broken},
		{name: "500 of errors", answer: says("500 Oh", "", constant(`{"tppMessages":[{"text":"a"}`+strings.Repeat(`,{"text":"limit of consent"}`, 9_000)+`],"Errors":{"Error":[{"Description":"a"}`+strings.Repeat(`,{"Description":"token limit"}`, 9_000)+`]}}`)), code: broken},
		{name: "500 of very many errors", answer: says("500 Oh", "", constant(`{"tppMessages":[{}`+strings.Repeat(`,{}`, 340_000)+`]}`)), code: broken},
		{name: "another's refusal", answer: foreignRefusal("500 Oh", ""), code: invalid},
		{name: "another's refusal in good order", answer: foreignRefusal("400 No", ""), code: invalid, alive: true},
		{name: "another's limit", answer: foreignRefusal("429 No", "Retry-After: 3600\r\n"), code: invalid, alive: true},
	}
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		all = append(all, badAnswer{name: status, code: invalid, answer: says(status+" Elsewhere", "Location: /v1/accounts\r\n", question.good)})
	}
	for _, wait := range []string{"-1", "0", "99999999999999999999", "4294967295", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "\xff\xfe", canary, "1, 2"} {
		all = append(all,
			badAnswer{name: "503 until " + strconv.Quote(wait), code: away, answer: says("503 No", "Retry-After: "+wait+"\r\n", constant(page))},
			badAnswer{name: "429 until " + strconv.Quote(wait), code: throttle, alive: true, answer: says("429 No", "Retry-After: "+wait+"\r\n", constant(page))})
	}
	return all
}()

// foreignRefusal refuses another request, as used up.
func foreignRefusal(status, header string) answers {
	other := uuid.NewString()
	return says(status, header+"X-Request-ID: "+other+"\r\n", constant(`{"originalRequestInfo":{"xRequestId":"`+other+
		`"},"Errors":{"Error":[{"ReasonCode":"ACCESS_EXCEEDED","Description":"`+canary+`"}]},"tppMessages":[{"code":"ACCESS_EXCEEDED"}]}`))
}

// A trial is a bad answer to one read of one ASPSP's.
type trial struct {
	badAnswer
	server         *badServer
	aspsp, consent string
	attended       bool // then balances are read, else the list
}

func (r trial) String() string {
	return fmt.Sprintf("%s: %s, attended %t", r.server.provider, r.name, r.attended)
}

// Whatever a provider answers, callers get the right problem in time; the breaker counts what failed; nothing is kept;
// each unattended call that was sent is counted once; and no word of the provider comes out.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	bomb() // takes its time
	var trials []trial
	for _, provider := range []string{"mastercard", "mypos"} {
		server := openBadServer(t, provider)
		for _, b := range slices.Concat(badBodies, badMessages, badRefusals) {
			for _, attended := range []bool{true, false} {
				if b.balances && !attended {
					continue
				}
				r := trial{b, server, uuid.NewString(), uuid.NewString(), attended}
				server.on(r.consent, b.answer)
				trials = append(trials, r)
			}
		}
	}
	logs := new(gatewaytest.Output)
	api, stop, err := gateway.Run(t.Context(), gatewaytest.EditConfig(t, w, func(text string) string { return against(text, trials) }), logs)
	if err != nil {
		t.Fatal(err)
	}
	stopped := sync.OnceFunc(stop)
	t.Cleanup(stopped)
	hands := make(chan struct{}, 8) // of the quick ones at once
	var done sync.WaitGroup
	for _, r := range trials {
		done.Go(func() {
			if !r.slow {
				hands <- struct{}{}
				defer func() { <-hands }()
			}
			r.try(t, api)
		})
	}
	done.Wait()
	stopped()
	if out := logs.String(); strings.Contains(out, canary) || strings.Contains(out, "panic") {
		t.Errorf("the log tells what providers said, or of panics:\n%.4000s", out)
	}
}

// against is a configuration whose ASPSPs are those of the trials, and open their breakers at the first failure.
func against(text string, trials []trial) string {
	var aspsps strings.Builder
	for _, r := range trials {
		fmt.Fprintf(&aspsps, "  - {id: %s, name: x, provider: %s, breaker: {consecutiveFailures: 1, openFor: 1h}}\n", r.aspsp, r.server.provider)
	}
	for _, r := range []trial{trials[0], trials[len(trials)-1]} {
		text = towards(text, r.server, badTimeout)
	}
	return regexp.MustCompile(`(?s)(\naspsps:\n).*(\ncache: )`).ReplaceAllString(text, "${1}"+aspsps.String()+"${2}")
}

// towards is a configuration whose provider is the server.
func towards(text string, s *badServer, timeout time.Duration) string {
	base := regexp.MustCompile(s.provider + `: \{baseURL: "[^"]*"`)
	return base.ReplaceAllString(text, fmt.Sprintf(`%s: {timeout: %v, baseURL: %q`, s.provider, timeout, s.base))
}

// try makes the call of a trial, and looks at everything that may be seen of it.
func (r trial) try(t *testing.T, api string) {
	header := []string{"Consent-ID", r.consent, "Provider-Authorization", "Bearer " + mypossim.GoodToken}
	asked, aspsp := header, api+"/v1/aspsps/"+r.aspsp
	target := aspsp + "/accounts"
	if r.attended {
		asked, target = append(header, "PSU-IP-Address", "203.0.113.7"), target+"/"+accountOf(r.server.provider)+"/balances"
	}
	resp, body := gatewaytest.Call(t, http.MethodGet, target, asked...)
	var got struct {
		Code, Origin  string
		ProviderError *struct{ HTTPStatus int }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Code != r.code || (r.code == fine) != (resp.StatusCode == http.StatusOK) {
		t.Errorf("%v: answered %d %.500s, want %q", r, resp.StatusCode, body, r.code)
	}
	if r.code != fine {
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
	// What broke before its answer began may be sent once more, for the user.
	if n := r.server.count(r.consent); n != 1 && (n != 2 || !r.attended || r.code != broken) {
		t.Errorf("%v: %d calls arrived", r, n)
	}
	state := "open"
	// Data that cannot be accepted says nothing about the ASPSP; a status other than 200 does.
	if e := got.ProviderError; r.code == fine || r.alive || r.code == invalid && (e == nil || e.HTTPStatus == http.StatusOK) {
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
	kept := r.keeps(t, api, r.consent)
	for range 10 { // on a busy machine Redis may be too late to store a list: the next consent has another try
		if kept || r.code != fine {
			break
		}
		again := uuid.NewString()
		r.server.on(again, r.answer)
		gatewaytest.Call(t, http.MethodGet, target, "Consent-ID", again, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
		kept = r.keeps(t, api, again)
	}
	if kept != (r.code == fine) {
		t.Errorf("%v: kept is %t", r, kept)
	}
}

// keeps reports whether there is a cached list of the trial's ASPSP under a consent.
func (r trial) keeps(t *testing.T, api, consent string) bool {
	t.Helper()
	resp, _ := gatewaytest.Call(t, http.MethodGet, api+"/v1/aspsps/"+r.aspsp+"/accounts", "Cache-Control", "only-if-cached",
		"Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	return resp.StatusCode == http.StatusOK
}
