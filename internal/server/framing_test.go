package server

import (
	"fmt"
	"strings"
	"testing"
)

// Requests whose end is ambiguous are found, in pieces of every size.
func TestFraming(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n"
	long := strings.Repeat("a", 200)
	tests := []struct {
		name, sent string
		want       string // for each request "ok", "last", or the name of the fault
	}{
		{"plain", get + "\r\n" + get + "\r\n", "ok ok"},
		{"a body", get + "Content-Length: 3\r\n\r\nabc" + get + "\r\n", "ok ok"},
		{"a body that looks like a request", get + "Content-Length: 57\r\n\r\n" + get + "Content-Length: 1\r\nTransfer-Encoding: x\r\n"[:57-len(get)] + get + "\r\n", "ok ok"},
		{"long lines", get + "X: " + long + "\r\n" + long + ": 1\r\n\r\n" + get + "\r\n", "ok ok"},
		{"empty lines between", get + "\r\n\r\n\r\n" + get + "\r\n", "ok ok"},
		{"chunks", get + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get + "\r\n", "last ok"},
		{"an invalid length", get + "Content-Length: x\r\n\r\n", "last"},
		{"a length after many spaces", get + "Content-Length:" + strings.Repeat(" ", 100) + "3\r\n\r\n", "last"},
		{"both", get + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"},
		{"both in reverse order and other case", get + "tRANSFER-eNCODING:chunked\r\nCONTENT-LENGTH:0\r\n\r\n", "Transfer-Encoding"},
		{"both, after other requests", get + "\r\n" + get + "Content-Length: 1\r\n\r\na" + get + "Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\n", "ok ok Transfer-Encoding"},
		{"two lengths", get + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "Content-Length"},
		{"chunks in HTTP/1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"},
		{"a folded header", get + "X: 1\r\n Content-Length: 3\r\n\r\n", "line folding"},
		{"a folded coding", get + "Transfer-Encoding:\r\n\tchunked\r\n\r\n", "line folding"},
		{"a bare LF", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", "line ending"},
		{"bare LFs", "GET / HTTP/1.1\nHost: a\n\n", "line ending"},
		{"requests after chunks", get + "Transfer-Encoding: chunked\r\n\r\n" + get + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "last ok"},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 7, len(tt.sent)} {
			t.Run(fmt.Sprint(tt.name, " by ", size), func(t *testing.T) {
				f := &framing{}
				for rest := tt.sent; rest != ""; {
					n := min(size, len(rest))
					f.follow([]byte(rest[:n]))
					rest = rest[n:]
				}
				var got []string
				for range strings.Fields(strings.ReplaceAll(tt.want, "line ", "line-")) {
					switch fault, last := f.next(); {
					case fault != nil:
						got = append(got, fault.Name)
					case last:
						got = append(got, "last")
					default:
						got = append(got, "ok")
					}
				}
				if got := strings.Join(got, " "); got != tt.want {
					t.Errorf("%q is %s, want %s", tt.sent, got, tt.want)
				}
			})
		}
	}
}
