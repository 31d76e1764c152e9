package server

import (
	"strconv"
	"strings"
	"sync"

	"ais-gateway/internal/canonical"
)

// framing parses the heads of the requests on one connection as their bytes arrive, and finds
// requests that two HTTP implementations could end at different bytes (request smuggling). net/http
// accepts such requests and removes the header that shows it. framing stops at the first such
// request and at the first chunked body: the connection is closed after either.
type framing struct {
	mu     sync.Mutex
	served int                   // requests for which next was called
	heads  int                   // heads that were read completely
	last   int                   // number of the last request on the connection; valid if done
	fault  *canonical.FieldError // of the last request; nil if only the connection must be closed
	done   bool
	body   uint64 // bytes that remain of the body before the next head
	head   head
}

// head is the part of a request's head that was read so far.
type head struct {
	line   []byte // the current line, up to maxLine bytes
	length int    // of the current line
	cr     bool   // the current line ends with CR so far
	tail   [len(http10)]byte
	lines  int

	isHTTP10      bool
	lengths       int // number of Content-Length headers
	codings       int // number of Transfer-Encoding headers
	contentLength uint64
	badLength     bool // Content-Length is not a number
	fault         *canonical.FieldError
}

const (
	// maxLine is the part of a line that is kept: enough for a header's name and a length.
	maxLine = 64
	http10  = "HTTP/1.0"
)

// headerFault returns a fault of a header.
func headerFault(name, detail string) *canonical.FieldError {
	return &canonical.FieldError{In: "header", Name: name, Detail: detail}
}

// next is called once for each request, in order. It returns what is wrong with the request's
// framing, nil if nothing is, and whether the connection must be closed after the request.
func (f *framing) next() (fault *canonical.FieldError, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served++
	if f.done && f.served == f.last {
		return f.fault, true
	}
	return nil, false
}

// follow parses bytes that have arrived.
func (f *framing) follow(p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 && !f.done {
		if f.body > 0 {
			n := min(f.body, uint64(len(p)))
			f.body -= n
			p = p[n:]
			continue
		}
		if f.head.read(p[0]) {
			f.endHead()
		}
		p = p[1:]
	}
}

// endHead checks the head that was just read.
func (f *framing) endHead() {
	h := &f.head
	f.heads++
	fault := h.fault
	switch {
	case fault != nil:
	case h.codings > 0 && h.lengths > 0:
		fault = headerFault("Transfer-Encoding", "must not be sent together with Content-Length")
	case h.lengths > 1:
		fault = headerFault("Content-Length", "must be sent only once")
	case h.codings > 0 && h.isHTTP10:
		fault = headerFault("Transfer-Encoding", "must not be sent with HTTP/1.0")
	}
	if fault != nil || h.codings > 0 || h.badLength {
		f.done, f.last, f.fault = true, f.heads, fault
	}
	f.body = h.contentLength
	f.head = head{line: h.line[:0]}
}

// read parses one byte, and reports whether the head ends with it.
func (h *head) read(b byte) bool {
	if b != '\n' {
		if len(h.line) < maxLine {
			h.line = append(h.line, b)
		}
		h.length++
		if h.cr = b == '\r'; !h.cr {
			copy(h.tail[:], h.tail[1:])
			h.tail[len(h.tail)-1] = b
		}
		return false
	}
	if h.cr {
		h.length--
		h.line = h.line[:min(len(h.line), h.length)]
	} else {
		h.setFault(headerFault("line ending", "must be CRLF"))
	}
	ends := h.lines > 0 && h.length == 0
	if !ends && (h.lines > 0 || h.length > 0) { // empty lines before a request are ignored
		h.endLine()
	}
	h.line, h.length, h.cr = h.line[:0], 0, false
	return ends
}

func (h *head) endLine() {
	h.lines++
	if h.lines == 1 {
		h.isHTTP10 = string(h.tail[:]) == http10
		return
	}
	if h.line[0] == ' ' || h.line[0] == '\t' {
		h.setFault(headerFault("line folding", "is not supported (RFC 9112, section 5.2)"))
		return
	}
	name, value, _ := strings.Cut(string(h.line), ":")
	switch strings.ToLower(name) {
	case "transfer-encoding":
		h.codings++
	case "content-length":
		h.lengths++
		var err error
		h.contentLength, err = strconv.ParseUint(strings.Trim(value, " \t"), 10, 63)
		h.badLength = err != nil || h.length > maxLine
	}
}

// setFault keeps the first fault.
func (h *head) setFault(fault *canonical.FieldError) {
	if h.fault == nil {
		h.fault = fault
	}
}
