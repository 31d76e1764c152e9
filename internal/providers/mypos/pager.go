package mypos

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/paging"
)

// Limits of one account list, far above real lists, so that reading pages always ends.
const (
	maxPages    = 200
	maxAccounts = 10_000
	maxBytes    = 1 << 20 // of all pages together, as much as one page alone may have
)

// pageField is the meaning of a member of pagination.
type pageField int

const (
	pageSize   pageField = iota // accounts on a full page
	pageNumber                  // of this page, starting at 0 or 1
	totalCount                  // accounts on all pages together
	totalPages
	ambiguousCount // accounts on all pages or on this page, depending on its value
	pageFieldCount
)

// pageFieldNames maps normalized member names to their meanings. myPOS does not publish the names
// of pagination's members; these are common ones.
var pageFieldNames = map[string]pageField{
	"pagesize": pageSize, "size": pageSize, "perpage": pageSize, "limit": pageSize, "itemsperpage": pageSize,
	"page": pageNumber, "currentpage": pageNumber, "pagenumber": pageNumber, "current": pageNumber, "number": pageNumber,
	"total": totalCount, "totalcount": totalCount, "totalelements": totalCount, "totalitems": totalCount,
	"totalresults": totalCount, "totalrecords": totalCount,
	"totalpages": totalPages, "pages": totalPages, "pagecount": totalPages,
	"count": ambiguousCount,
}

// unknown is the value of a field that pagination does not contain.
const unknown = -1

// pageInfo contains the values of pagination.
type pageInfo [pageFieldCount]int

var noPageInfo = pageInfo{unknown, unknown, unknown, unknown, unknown}

// An accountPager assembles the account list from its pages. It returns an error unless the list is
// complete.
type accountPager struct {
	list       adapter.AccountList
	duplicates int      // accounts that a page repeats, with equal content
	overlap    bool     // a page repeats accounts of an earlier page
	pages      int      // pages read
	bytes      int      // bytes read
	nextPage   int      // the number of the page to request, later of the page requested last
	info       pageInfo // the values of the pages so far; the page size is that of the first page
}

func newAccountPager() *accountPager {
	return &accountPager{list: adapter.AccountList{Accounts: []canonical.Account{}}, info: noPageInfo}
}

// query returns the URL query for the next page; "" for the first page.
func (l *accountPager) query() string {
	if l.pages == 0 {
		return ""
	}
	query := "page=" + strconv.Itoa(l.nextPage)
	if size := l.info[pageSize]; size > 0 {
		query += "&size=" + strconv.Itoa(size)
	}
	return query
}

// addPage adds a page whose body has the given number of bytes, and reports whether it was the last
// page.
func (l *accountPager) addPage(w wireAccounts, bytes int) (done bool, err error) {
	if l.bytes += bytes; l.bytes > maxBytes {
		return false, canonical.InvalidResponse("the list of accounts is too large")
	}
	if err := w.ErrorInSuccess(); err != nil {
		return false, err
	}
	if w.Accounts == nil {
		return false, canonical.InvalidResponse("the list of accounts is missing")
	}
	if err := l.addAccounts(w.Accounts); err != nil {
		return false, err
	}
	l.pages++
	if len(l.list.Accounts) > maxAccounts {
		return false, canonical.InvalidResponse("the list has too many accounts")
	}
	if w.Pagination == nil && l.pages == 1 {
		return true, nil
	}
	p, err := parsePageInfo(w.Pagination, len(w.Accounts))
	if err != nil {
		return false, err
	}
	if err := l.checkContinues(p); err != nil {
		return false, err
	}
	done, err = l.isComplete(len(w.Accounts))
	switch {
	case done || err != nil:
		return done, err
	case l.overlap: // the pages have shifted: an account may be missing, which further calls would not show
		return false, canonical.InvalidResponse("the pages overlap")
	case l.nextPage == unknown:
		return false, canonical.InvalidResponse("there are more pages, and this page has no number")
	case l.pages == maxPages:
		return false, canonical.InvalidResponse("the list of accounts has too many pages")
	}
	l.nextPage++
	return false, nil
}

// addAccounts adds the accounts of a page. An account that is listed already, with equal content,
// is not added again.
func (l *accountPager) addAccounts(page []*wireAccount) error {
	before := len(l.list.Accounts)
	l.list.Accounts = slices.Grow(l.list.Accounts, len(page))
	for _, wire := range page {
		if wire == nil {
			return canonical.InvalidResponse("an account is null")
		}
		account, card := wire.account()
		index, added, err := l.list.Add(account, string(wire.IBAN), card)
		switch {
		case err != nil:
			return err
		case added:
		case index >= before:
			l.duplicates++
		default:
			l.overlap = true
		}
	}
	if len(page) > 0 && len(l.list.Accounts) == before {
		return canonical.InvalidResponse("a page repeats the accounts of earlier pages")
	}
	return nil
}

// checkSlots returns UnattendedLimit if the remaining pages need more slots than are left.
func (l *accountPager) checkSlots(left int) *canonical.Error {
	return paging.CheckSlots(l.pages, l.remainingPages(), left)
}

// remainingPages returns how many pages remain at least, according to the pages read so far. It is
// at least 1.
func (l *accountPager) remainingPages() int {
	if pages := l.info[totalPages]; pages != unknown {
		return max(pages-l.pages, 1)
	}
	have := len(l.list.Accounts) + l.duplicates
	size := max(l.info[pageSize], (have+l.pages-1)/l.pages) // a page may contain more accounts than its size
	if total := l.info[totalCount]; total != unknown && size > 0 {
		return max((total-have+size-1)/size, 1)
	}
	return 1
}

// checkContinues returns an error if a page is not the requested one or contradicts earlier pages.
func (l *accountPager) checkContinues(p pageInfo) error {
	if l.pages == 1 {
		if p[pageNumber] > 1 {
			return canonical.InvalidResponse("the first response is not the first page")
		}
		l.info, l.nextPage = p, p[pageNumber]
		return nil
	}
	if p[pageNumber] != l.nextPage {
		return canonical.InvalidResponse("a page is not the requested one")
	}
	for _, m := range []pageField{totalCount, totalPages} {
		if l.info[m] != unknown && p[m] != unknown && l.info[m] != p[m] {
			return canonical.InvalidResponse("the total changes between pages")
		}
		l.info[m] = max(l.info[m], p[m])
	}
	return nil
}

// isComplete reports whether the list is complete after a page with the given number of accounts.
// It returns an error if the pagination of the pages is contradictory.
func (l *accountPager) isComplete(held int) (bool, error) {
	have, total, pages := len(l.list.Accounts), l.info[totalCount], l.info[totalPages]
	if total != unknown && have < total { // the total may include repeated accounts
		have = min(total, have+l.duplicates)
	}
	switch {
	case total != unknown && have > total, pages != unknown && l.pages > pages && held > 0:
		return false, canonical.InvalidResponse("there are more accounts than the total")
	case total > maxAccounts, pages > maxPages:
		return false, canonical.InvalidResponse("the list has too many accounts")
	case held == 0 && (have < total || l.pages < pages), have < total && pages != unknown && l.pages >= pages:
		return false, canonical.InvalidResponse("the pages end before the total")
	case total != unknown && have == total && l.pages < pages:
		return false, canonical.InvalidResponse("number of accounts and number of pages contradict each other")
	case total != unknown:
		return have == total, nil
	case pages != unknown:
		return l.pages >= pages, nil
	case l.info[pageSize] > 0:
		return held < l.info[pageSize], nil
	}
	return false, canonical.InvalidResponse("pagination does not show whether the list is complete")
}

// parsePageInfo returns the values of the pagination of a page with the given number of accounts.
// Unknown members are ignored.
func parsePageInfo(pagination map[string]json.RawMessage, held int) (pageInfo, error) {
	p := noPageInfo
	for name, raw := range pagination {
		m, known := pageFieldNames[normalizeName(name)]
		if !known || string(raw) == "null" {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(string(raw), `" `))
		if err != nil || n < 0 {
			return p, canonical.InvalidResponse("pagination contains a value that is not a number")
		}
		if p[m] != unknown && p[m] != n {
			return p, canonical.InvalidResponse("pagination contradicts itself")
		}
		p[m] = n
	}
	// A count is certainly that of all pages only if it exceeds the accounts on this page.
	if p[totalCount] == unknown && p[totalPages] == unknown && p[ambiguousCount] > held {
		p[totalCount] = p[ambiguousCount]
	}
	return p, nil
}

var withoutMarks = strings.NewReplacer("_", "", "-", "")

// normalizeName returns a member name in lower case, without underscores and hyphens.
func normalizeName(name string) string { return withoutMarks.Replace(strings.ToLower(name)) }
