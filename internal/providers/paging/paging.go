// Package paging follows the pages of a provider's list within limits, under the ASPSP's base URL and
// within the slots of the unattended limit. Adapters use it.
package paging

import (
	"context"
	"net/url"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

// Limits of one read, far above real lists, so that reading pages always ends.
const (
	maxPages = 200
	maxBytes = 1 << 20 // of all pages together, as much as one page alone may have
	maxLink  = 4096    // bytes of the link to the next page
)

// links follows the links of a read whose provider sends the URL of the next page. The zero value is
// not usable; see ReadPages.
type links struct {
	base  *url.URL
	token string
	seen  map[string]bool // the URLs that were requested
	last  *url.URL        // the URL that was requested last
	bytes int
}

// newLinks returns the links of a read whose first page is requested at first. base is the base URL
// of the ASPSP: no other host is called.
func newLinks(q canonical.Query, base, first *url.URL) *links {
	return &links{base: base, token: q.Token.Reveal(), seen: map[string]bool{first.String(): true}, last: first}
}

// next counts a page and returns the URL of the next one by the link in the page; nil if the link is
// blank. total is the number of pages according to the page, 0 if it does not say.
//
// next returns ProviderInvalidResponse for a link that must not be followed: to another scheme, host
// or port; out of the base URL; with a user name, the user's token, or a path segment . or ..; to a
// page that was requested already; longer than 4096 bytes; or no URL. It does so too if there are more
// than 200 pages or 1 MiB, or if the pages end before total. It returns UnattendedLimit if the
// remaining pages need more slots than are left, because reading some of them would only use up the
// slots.
//
// The path of a link that does not begin with the path of base is taken as relative to base, because
// banks behind a proxy send the paths that they see themselves.
func (p *links) next(page providers.Response, link string, total int) (*url.URL, error) {
	if p.bytes += len(page.Body); p.bytes > maxBytes {
		return nil, canonical.InvalidResponse("the pages together are too large")
	}
	if link = strings.TrimSpace(link); link == "" {
		if len(p.seen) < total {
			return nil, canonical.InvalidResponse("the pages end before their total")
		}
		return nil, nil
	}
	next, fault := p.resolve(link)
	switch {
	case fault != "":
		return nil, canonical.InvalidResponse(fault)
	case p.seen[next.String()]:
		return nil, canonical.InvalidResponse("the link to the next page leads to an earlier page")
	case len(p.seen) == maxPages, total > maxPages:
		return nil, canonical.InvalidResponse("there are too many pages")
	}
	if failure := CheckSlots(len(p.seen), max(total-len(p.seen), 1), page.SlotsLeft); failure != nil {
		return nil, failure
	}
	p.seen[next.String()], p.last = true, next
	return next, nil
}

// CheckSlots returns UnattendedLimit if the remaining pages of a read need more slots than are left.
func CheckSlots(read, remaining, left int) *canonical.Error {
	if remaining <= left {
		return nil
	}
	failure := canonical.NewError(canonical.UnattendedLimit, "the list has more pages than calls are left")
	failure.Slots = &canonical.SlotNeed{Needed: read + remaining, Remaining: left}
	return failure
}

// resolve returns the URL of a link, or why the link must not be followed.
func (p *links) resolve(link string) (_ *url.URL, fault string) {
	if len(link) > maxLink {
		return nil, "the link to the next page is too long"
	}
	u, err := url.Parse(link)
	if err != nil || u.Opaque != "" || !validQuery(u.RawQuery) {
		return nil, "the link to the next page is no URL"
	}
	if u.User != nil || p.hasToken(u) {
		return nil, "the link to the next page contains credentials"
	}
	rooted := strings.HasPrefix(u.Path, "/")
	u = p.last.ResolveReference(u)
	if !sameServer(u, p.base) {
		return nil, "the link to the next page leads to another server"
	}
	if hasDotSegment(u.Path) {
		return nil, "the link to the next page has a path with . or .."
	}
	u.Scheme, u.Host = p.base.Scheme, p.base.Host // the link may spell them differently
	u.Fragment, u.RawFragment = "", ""
	switch base := strings.TrimSuffix(p.base.EscapedPath(), "/"); {
	case strings.HasPrefix(u.EscapedPath(), base+"/"):
	case rooted:
		u.RawPath = base + u.EscapedPath()
		u.Path = strings.TrimSuffix(p.base.Path, "/") + u.Path
	default:
		return nil, "the link to the next page leads out of the base URL"
	}
	return u, ""
}

// validQuery reports whether a query can be sent as it is, and every escape in it is valid.
func validQuery(query string) bool {
	_, err := url.QueryUnescape(query)
	return err == nil && !strings.ContainsFunc(query, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("\"<>\\^`{|}", c) })
}

// hasToken reports whether a link contains the user's token, which would then be in the logs of
// every server and proxy on the way.
func (p *links) hasToken(u *url.URL) bool {
	if p.token == "" {
		return false
	}
	query, _ := url.QueryUnescape(u.RawQuery) // validQuery has checked it
	return strings.Contains(u.Path, p.token) || strings.Contains(query, p.token) || strings.Contains(u.RawQuery, p.token)
}

// sameServer reports whether two URLs have the same scheme, host and port.
func sameServer(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port returns the port of a URL, or the default port of its scheme.
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// ReadPages makes the calls of one read at an ASPSP with the given base URL: r, and then one for each
// further page. add takes a page and returns its link to the next one, "" if there is none, and the
// number of all pages, 0 if it is unknown. ReadPages returns the first error of add, of a call, or of
// links.next.
func ReadPages(
	ctx context.Context, client providers.Client, q canonical.Query, base *url.URL, r providers.Request,
	add func(page providers.Response) (next string, total int, err error),
) error {
	pages := newLinks(q, base, r.URL)
	r.Next = func(page providers.Response) (*url.URL, error) {
		link, total, err := add(page)
		if err != nil {
			return nil, err
		}
		return pages.next(page, link, total)
	}
	_, err := client.Read(ctx, q, r)
	return err
}
