package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

// receive reads the body of a response to its end and decodes it. A refusal whose body cannot be read is still a
// refusal: its status says something, and the adapter learns that its body says nothing.
func receive(ctx context.Context, resp *http.Response) (a providers.Answer, failure *canonical.Error) {
	a = providers.Answer{Status: resp.StatusCode, Header: resp.Header}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		failure = broken(ctx, true, err)
	case len(raw) > maxBody:
		failure = canonical.InvalidResponse("body is too large")
	default:
		a.Body, failure = decoded(resp.Header, raw, a.Status >= http.StatusBadRequest)
	}
	if failure != nil && failure.Kind != canonical.Canceled && a.Status >= http.StatusBadRequest {
		a.Body, a.Unreadable = nil, true
		return a, nil
	}
	return a, failure
}

// decoded is the text of a body. Of a refusal it need not be UTF-8: codes are ASCII, and more is not shown.
func decoded(h http.Header, raw []byte, refused bool) ([]byte, *canonical.Error) {
	body, failure := uncompressed(h, raw)
	if failure != nil {
		return nil, failure
	}
	if refused {
		if bytes.IndexByte(body, 0) >= 0 {
			return nil, canonical.InvalidResponse("body is in UTF-16, or no text")
		}
		return bytes.ToValidUTF8(bytes.TrimPrefix(body, []byte("\ufeff")), []byte(string(utf8.RuneError))), nil
	}
	if foreignCharset(h) {
		return nil, canonical.InvalidResponse("body is in another character set than UTF-8")
	}
	return body, nil
}

// uncompressed is a body without its content coding. The gateway accepts gzip, under both names (RFC 9110, section
// 8.4.1.3), because it sends no Accept-Encoding: any coding is then acceptable (section 12.5.3), and providers use this
// one. The bound of a body holds for what it decodes to.
func uncompressed(h http.Header, raw []byte) ([]byte, *canonical.Error) {
	zipped := false
	for coding := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "", "identity":
		case "gzip", "x-gzip":
			if zipped {
				return nil, canonical.InvalidResponse("body is compressed twice")
			}
			zipped = true
		default:
			return nil, canonical.InvalidResponse("body has a content coding other than gzip")
		}
	}
	if !zipped || len(raw) == 0 {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, canonical.InvalidResponse("body is not the gzip that it is said to be")
	}
	body, err := io.ReadAll(io.LimitReader(z, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, canonical.InvalidResponse("body is too large")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, canonical.InvalidResponse("body is cut off")
	case err != nil:
		return nil, canonical.InvalidResponse("body is not the gzip that it is said to be")
	}
	return body, nil
}

// foreignCharset reports whether a body is in another character set than JSON has (RFC 8259, section 8.1). The rest of
// the media type says nothing: there are providers that send JSON as text, and what is no JSON is found by reading it.
func foreignCharset(h http.Header) bool {
	for _, kind := range h.Values("Content-Type") {
		for parameter := range strings.SplitSeq(kind, ";") {
			name, value, _ := strings.Cut(parameter, "=")
			if strings.EqualFold(strings.TrimSpace(name), "charset") && !unicodeName(strings.Trim(value, " \t\"'")) {
				return true
			}
		}
	}
	return false
}

// unicodeName reports whether a character set is UTF-8, or a part of it; none at all is.
func unicodeName(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}
