package server

import (
	"bytes"
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
		text, rest, ended := bytes.Cut(p, []byte{'\n'})
		f.head.add(text)
		if ended && f.head.endLine() {
			f.endHead()
		}
		p = rest
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

// add adds a part of the current line.
func (h *head) add(p []byte) {
	if len(p) == 0 {
		return
	}
	h.line = append(h.line, p[:min(len(p), maxLine-len(h.line))]...)
	h.length += len(p)
	h.cr = p[len(p)-1] == '\r'
	if h.lines > 0 {
		return
	}
	for _, b := range p { // of the request line, the last bytes say which version it has
		if b != '\r' {
			copy(h.tail[:], h.tail[1:])
			h.tail[len(h.tail)-1] = b
		}
	}
}

// endLine ends the current line, and reports whether the head ends with it.
func (h *head) endLine() bool {
	if h.cr {
		h.length--
		h.line = h.line[:min(len(h.line), h.length)]
	} else {
		h.setFault(headerFault("line ending", "must be CRLF"))
	}
	ends := h.lines > 0 && h.length == 0
	if !ends && (h.lines > 0 || h.length > 0) { // empty lines before a request are ignored
		h.parseLine()
	}
	h.line, h.length, h.cr = h.line[:0], 0, false
	return ends
}

// parseLine parses the current line, which is complete.
func (h *head) parseLine() {
	h.lines++
	if h.lines == 1 {
		h.isHTTP10 = string(h.tail[:]) == http10
		return
	}
	if h.line[0] == ' ' || h.line[0] == '\t' {
		h.setFault(headerFault("line folding", "is not supported (RFC 9112, section 5.2)"))
		return
	}
	name, value, _ := bytes.Cut(h.line, []byte{':'})
	switch {
	case isHeader(name, "transfer-encoding"):
		h.codings++
	case isHeader(name, "content-length"):
		h.lengths++
		var err error
		h.contentLength, err = strconv.ParseUint(string(bytes.Trim(value, " \t")), 10, 63)
		h.badLength = err != nil || h.length > maxLine
	}
}

// isHeader reports whether a name is that of a header, in any case.
func isHeader(name []byte, header string) bool {
	return len(name) == len(header) && strings.EqualFold(string(name), header)
}

// setFault keeps the first fault.
func (h *head) setFault(fault *canonical.FieldError) {
	if h.fault == nil {
		h.fault = fault
	}
}
