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

// bodiesTooLarge is the detail of a call that exceeds the budget of providers.WithBodyBudget.
const bodiesTooLarge = "the responses of all sources together are too large"

// receive reads the body of a response to its end and decodes it. An error response whose body
// cannot be read is returned as Unreadable, because its status can still be classified.
func receive(ctx context.Context, resp *http.Response) (a providers.Response, failure *canonical.Error) {
	a = providers.Response{Status: resp.StatusCode, Header: resp.Header}
	raw, err := readBody(ctx, resp)
	switch {
	case errors.Is(err, providers.ErrBodyBudget):
		return a, canonical.NewError(canonical.Overloaded, bodiesTooLarge)
	case err != nil:
		failure = transportError(ctx, true, err)
	case len(raw) > maxBody:
		failure = canonical.InvalidResponse("body is too large")
	default:
		a.Body, failure = decodeBody(ctx, resp.Header, raw, a.Status >= http.StatusBadRequest)
	}
	if failure != nil && failure.Kind == canonical.Overloaded {
		return a, failure
	}
	if failure != nil && failure.Kind != canonical.Canceled && a.Status >= http.StatusBadRequest {
		a.Body, a.Unreadable = nil, true
		return a, nil
	}
	return a, failure
}

// readBody reads the body of a response, at most one byte more than maxBody.
func readBody(ctx context.Context, resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead) // so that the end is found without growing
	}
	_, err := b.ReadFrom(providers.BudgetedReader(ctx, io.LimitReader(resp.Body, maxBody+1)))
	return b.Bytes(), err
}

// decodeBody returns the text of a body. The body of an error response need not be UTF-8, because
// only error codes are passed on, which are ASCII.
func decodeBody(ctx context.Context, h http.Header, raw []byte, refused bool) ([]byte, *canonical.Error) {
	body, failure := decompress(ctx, h, raw)
	if failure != nil {
		return nil, failure
	}
	if refused {
		if bytes.IndexByte(body, 0) >= 0 {
			return nil, canonical.InvalidResponse("body is UTF-16 or not text")
		}
		return bytes.ToValidUTF8(bytes.TrimPrefix(body, []byte("\ufeff")), []byte(string(utf8.RuneError))), nil
	}
	if hasForeignCharset(h) {
		return nil, canonical.InvalidResponse("body has a character set other than UTF-8")
	}
	return body, nil
}

// decompress returns a body without its content coding. The gateway accepts gzip, under both of its
// names (RFC 9110, section 8.4.1.3): it sends no Accept-Encoding, so that a provider may choose any
// coding (section 12.5.3), and providers choose gzip. The size limit applies to the decompressed
// body.
func decompress(ctx context.Context, h http.Header, raw []byte) ([]byte, *canonical.Error) {
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
		return nil, canonical.InvalidResponse("body is not valid gzip")
	}
	body, err := io.ReadAll(providers.BudgetedReader(ctx, io.LimitReader(z, maxBody+1)))
	switch {
	case errors.Is(err, providers.ErrBodyBudget):
		return nil, canonical.NewError(canonical.Overloaded, bodiesTooLarge)
	case len(body) > maxBody:
		return nil, canonical.InvalidResponse("body is too large")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, canonical.InvalidResponse("body is cut off")
	case err != nil:
		return nil, canonical.InvalidResponse("body is not valid gzip")
	}
	return body, nil
}

// hasForeignCharset reports whether a body has a character set that JSON does not allow (RFC 8259,
// section 8.1). The media type itself is ignored: some providers send JSON as text/plain, and other
// content fails to decode.
func hasForeignCharset(h http.Header) bool {
	for _, kind := range h.Values("Content-Type") {
		for parameter := range strings.SplitSeq(kind, ";") {
			name, value, _ := strings.Cut(parameter, "=")
			if strings.EqualFold(strings.TrimSpace(name), "charset") && !isUTF8Charset(strings.Trim(value, " \t\"'")) {
				return true
			}
		}
	}
	return false
}

// isUTF8Charset reports whether the name of a character set is UTF-8, a subset of it, or empty.
func isUTF8Charset(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}
