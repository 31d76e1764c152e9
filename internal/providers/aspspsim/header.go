package aspspsim

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Headers is what a provider documents of the headers of a request: a check of the value by
// canonical name.
type Headers struct {
	Mandatory, Optional map[string]func(value string) bool
}

// ofHTTP are the headers that HTTP itself needs.
var ofHTTP = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}

// Invalid returns the first header, in alphabetical order, that is missing, repeated, ill-formed or
// not documented; "" if all are valid.
func (h Headers) Invalid(header http.Header) string {
	var faulty []string
	for name, valid := range h.Mandatory {
		if values := header[name]; len(values) != 1 || !valid(values[0]) {
			faulty = append(faulty, name)
		}
	}
	for name, values := range header {
		valid, listed := h.Optional[name]
		_, mandatory := h.Mandatory[name]
		switch {
		case mandatory || slices.Contains(ofHTTP, name):
		case !listed || len(values) != 1 || !valid(values[0]):
			faulty = append(faulty, name)
		}
	}
	if len(faulty) == 0 {
		return ""
	}
	return slices.Min(faulty)
}

// Echo sets a header of the response to that of the request, if it is a UUID.
func Echo(w http.ResponseWriter, r *http.Request, name string) {
	if id := r.Header.Get(name); IsUUID(id) {
		w.Header().Set(name, id)
	}
}

// IsUUID reports whether a text is a UUID of 36 characters.
func IsUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// IsText reports whether a text has 1 to 256 characters.
func IsText(s string) bool { return s != "" && utf8.RuneCountInString(s) <= 256 }

// IsBearer reports whether a text is Bearer and a token.
func IsBearer(s string) bool {
	token, ok := strings.CutPrefix(s, "Bearer ")
	return ok && token != "" && !strings.ContainsAny(token, " \t")
}

// IsAddress reports whether a text is an IP address.
func IsAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// IsPort reports whether a text is a port from 1 to 65535.
func IsPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
