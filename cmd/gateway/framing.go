package main

import (
	"strconv"
	"strings"
	"sync"

	"ais-gateway/internal/canonical"
)

// A framing follows the requests on one connection, as they arrive, and finds those whose end two readers can see in
// different places. net/http reads such a request in its own way, and removes the header that shows the doubt. It stops at
// the first such request and at the first body in chunks: the connection is closed after either.
type framing struct {
	mu     sync.Mutex
	judged int                   // requests that were judged
	heads  int                   // heads that were read completely
	last   int                   // the number of the request after which nothing more is followed; valid if done
	fault  *canonical.FieldError // of that request; nil if only the connection must end
	done   bool
	body   uint64 // bytes that remain of the body before the next head
	head   head
}

// A head is the part of a request's head that was read so far.
type head struct {
	line   []byte // the current line, up to maxLine bytes
	length int    // of the current line
	cr     bool   // the current line ends with CR so far
	tail   [len(http10)]byte
	lines  int

	old              bool // HTTP/1.0
	lengths, codings int  // how many headers Content-Length and Transfer-Encoding there are
	size             uint64
	unsized          bool // Content-Length is no number
	fault            *canonical.FieldError
}

const (
	// maxLine is how much of a line is looked at: a header's name, and a length.
	maxLine = 64
	http10  = "HTTP/1.0"
)

func headerFault(name, detail string) *canonical.FieldError {
	return &canonical.FieldError{In: "header", Name: name, Detail: detail}
}

// judge returns what is wrong with the next request, and whether the connection must be closed after it.
func (f *framing) judge() (fault *canonical.FieldError, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judged++
	if f.done && f.judged == f.last {
		return f.fault, true
	}
	return nil, false
}

// follow looks at bytes that have arrived.
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
			f.end()
		}
		p = p[1:]
	}
}

// end judges the head that was just read.
func (f *framing) end() {
	h := &f.head
	f.heads++
	fault := h.fault
	switch {
	case fault != nil:
	case h.codings > 0 && h.lengths > 0:
		fault = headerFault("Transfer-Encoding", "must not be sent together with Content-Length")
	case h.lengths > 1:
		fault = headerFault("Content-Length", "must be sent only once")
	case h.codings > 0 && h.old:
		fault = headerFault("Transfer-Encoding", "must not be sent with HTTP/1.0")
	}
	if fault != nil || h.codings > 0 || h.unsized {
		f.done, f.last, f.fault = true, f.heads, fault
	}
	f.body = h.size
	f.head = head{line: h.line[:0]}
}

// read takes one byte, and reports whether the head ends with it.
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
		h.note(headerFault("line ending", "must be CRLF"))
	}
	ends := h.lines > 0 && h.length == 0
	if !ends && (h.lines > 0 || h.length > 0) { // an empty line before the request is none of it
		h.endLine()
	}
	h.line, h.length, h.cr = h.line[:0], 0, false
	return ends
}

func (h *head) endLine() {
	h.lines++
	if h.lines == 1 {
		h.old = string(h.tail[:]) == http10
		return
	}
	if h.line[0] == ' ' || h.line[0] == '\t' {
		h.note(headerFault("line folding", "is not supported (RFC 9112, section 5.2)"))
		return
	}
	name, value, _ := strings.Cut(string(h.line), ":")
	switch strings.ToLower(name) {
	case "transfer-encoding":
		h.codings++
	case "content-length":
		h.lengths++
		var err error
		h.size, err = strconv.ParseUint(strings.Trim(value, " \t"), 10, 63)
		h.unsized = err != nil || h.length > maxLine
	}
}

// note keeps the first fault.
func (h *head) note(fault *canonical.FieldError) {
	if h.fault == nil {
		h.fault = fault
	}
}
