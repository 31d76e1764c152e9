package mypos

import (
	"encoding/json"
	"strconv"
	"strings"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/upstream"
)

// Bounds of one account list. Nobody has as many accounts; a provider that never comes to an end is stopped.
const (
	maxPages    = 200
	maxAccounts = 10_000
	maxBytes    = 1 << 20 // of all pages together; one alone may have as many
)

// A meaning is what a member of pagination says.
type meaning int

const (
	pageSize   meaning = iota // accounts on a full page
	pageNumber                // of this page, from 0 or from 1
	totalCount                // accounts on all pages together
	totalPages
	someCount // accounts on all pages or on this one: the word alone does not tell
	meanings
)

// pageNames are the words for them, folded. The names of pagination's members are not published: these are the
// usual ones.
var pageNames = map[string]meaning{
	"pagesize": pageSize, "size": pageSize, "perpage": pageSize, "limit": pageSize, "itemsperpage": pageSize,
	"page": pageNumber, "currentpage": pageNumber, "pagenumber": pageNumber, "current": pageNumber, "number": pageNumber,
	"total": totalCount, "totalcount": totalCount, "totalelements": totalCount, "totalitems": totalCount,
	"totalresults": totalCount, "totalrecords": totalCount,
	"totalpages": totalPages, "pages": totalPages, "pagecount": totalPages,
	"count": someCount,
}

// unknown is what a page did not say.
const unknown = -1

// A place is what a page says of itself, by meaning.
type place [meanings]int

var nowhere = place{unknown, unknown, unknown, unknown, unknown}

// A listing is an account list that grows page by page. It is complete, or it is an error: it never ends in
// between.
type listing struct {
	accounts upstream.Accounts
	repeats  int   // accounts that a page lists a second time, with equal content
	overlap  bool  // a page lists accounts of a page before it
	read     int   // pages
	bytes    int   // of these
	asked    int   // the number of the page that was asked for last
	place    place // what the pages said; the size is the first one's
}

func newListing() *listing {
	return &listing{accounts: upstream.Accounts{List: []canonical.Account{}}, place: nowhere}
}

// query asks for the page that comes next; the first call asks for none.
func (l *listing) query() string {
	if l.read == 0 {
		return ""
	}
	query := "page=" + strconv.Itoa(l.asked)
	if size := l.place[pageSize]; size > 0 {
		query += "&size=" + strconv.Itoa(size)
	}
	return query
}

// add takes one page of so many bytes, and reports whether it was the last.
func (l *listing) add(w wireAccounts, bytes int) (done bool, err error) {
	if l.bytes += bytes; l.bytes > maxBytes {
		return false, canonical.InvalidResponse("the list of accounts is too large")
	}
	if err := w.errAtOnce(); err != nil {
		return false, err
	}
	if w.Accounts == nil {
		return false, canonical.InvalidResponse("the list of accounts is missing")
	}
	if err := l.take(*w.Accounts); err != nil {
		return false, err
	}
	l.read++
	if len(l.accounts.List) > maxAccounts {
		return false, canonical.InvalidResponse("there are more accounts than can be")
	}
	if w.Pagination == nil && l.read == 1 {
		return true, nil
	}
	p, err := placeOf(w.Pagination, len(*w.Accounts))
	if err != nil {
		return false, err
	}
	if err := l.follow(p); err != nil {
		return false, err
	}
	done, err = l.complete(len(*w.Accounts))
	switch {
	case done || err != nil:
		return done, err
	case l.overlap: // the pages have shifted: something may be missing, and further calls would not show it
		return false, canonical.InvalidResponse("the pages overlap")
	case l.asked == unknown:
		return false, canonical.InvalidResponse("there are more pages, and this one has no number")
	case l.read == maxPages:
		return false, canonical.InvalidResponse("the list of accounts does not come to an end")
	}
	l.asked++
	return false, nil
}

// take adds the accounts of a page. An account that was listed before with equal content is not added again.
func (l *listing) take(page []*wireAccount) error {
	before := len(l.accounts.List)
	for _, wire := range page {
		account, err := wire.account()
		if err != nil {
			return err
		}
		place, added, err := l.accounts.Add(account, string(wire.IBAN))
		switch {
		case err != nil:
			return err
		case added:
		case place >= before:
			l.repeats++
		default:
			l.overlap = true
		}
	}
	if len(page) > 0 && len(l.accounts.List) == before {
		return canonical.InvalidResponse("a page lists the accounts of the page before")
	}
	return nil
}

// fits is the failure of a list that goes on, if its other pages need more slots than are left: it is not read further,
// since it would only use them up.
func (l *listing) fits(left int) *canonical.Error {
	others := l.others()
	if others <= left {
		return nil
	}
	failure := canonical.NewError(canonical.UnattendedLimit, "the list has more pages than calls are left")
	failure.Slots = &canonical.SlotNeed{Needed: l.read + others, Remaining: left}
	return failure
}

// others is how many more pages there are: at least one, as far as the pages read do not say more.
func (l *listing) others() int {
	if pages := l.place[totalPages]; pages != unknown {
		return max(pages-l.read, 1)
	}
	have := len(l.accounts.List) + l.repeats
	size := max(l.place[pageSize], (have+l.read-1)/l.read) // a page may hold more accounts than its size says
	if total := l.place[totalCount]; total != unknown && size > 0 {
		return max((total-have+size-1)/size, 1)
	}
	return 1
}

// follow checks that a page is the one asked for and that it belongs to those before it.
func (l *listing) follow(p place) error {
	if l.read == 1 {
		if p[pageNumber] > 1 {
			return canonical.InvalidResponse("the first page is not the first one")
		}
		l.place, l.asked = p, p[pageNumber]
		return nil
	}
	if p[pageNumber] != l.asked {
		return canonical.InvalidResponse("a page is not the one asked for")
	}
	for _, m := range []meaning{totalCount, totalPages} {
		if l.place[m] != unknown && p[m] != unknown && l.place[m] != p[m] {
			return canonical.InvalidResponse("the total changes between pages")
		}
		l.place[m] = max(l.place[m], p[m])
	}
	return nil
}

// complete reports whether nothing is missing after a page that held some accounts. What the pages say of
// themselves must agree.
func (l *listing) complete(held int) (bool, error) {
	have, total, pages := len(l.accounts.List), l.place[totalCount], l.place[totalPages]
	if total != unknown && have < total { // which may count an account as often as it is listed
		have = min(total, have+l.repeats)
	}
	switch {
	case total != unknown && have > total, pages != unknown && l.read > pages && held > 0:
		return false, canonical.InvalidResponse("there are more accounts than the total")
	case total > maxAccounts, pages > maxPages:
		return false, canonical.InvalidResponse("there are more accounts than can be")
	case held == 0 && (have < total || l.read < pages), have < total && pages != unknown && l.read >= pages:
		return false, canonical.InvalidResponse("the pages end before the total")
	case total != unknown && have == total && l.read < pages:
		return false, canonical.InvalidResponse("number of accounts and number of pages contradict each other")
	case total != unknown:
		return have == total, nil
	case pages != unknown:
		return l.read >= pages, nil
	case l.place[pageSize] > 0:
		return held < l.place[pageSize], nil
	}
	return false, canonical.InvalidResponse("pagination does not say whether the list is complete")
}

// placeOf reads pagination, of a page that holds some accounts. Members with other names are passed over.
func placeOf(pagination map[string]json.RawMessage, held int) (place, error) {
	p := nowhere
	for name, raw := range pagination {
		m, known := pageNames[fold(name)]
		if !known || string(raw) == "null" {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(string(raw), `" `))
		if err != nil || n < 0 {
			return p, canonical.InvalidResponse("pagination holds what is not a number")
		}
		if p[m] != unknown && p[m] != n {
			return p, canonical.InvalidResponse("pagination contradicts itself")
		}
		p[m] = n
	}
	// Only a count of more than the page holds is surely one of all pages.
	if p[totalCount] == unknown && p[totalPages] == unknown && p[someCount] > held {
		p[totalCount] = p[someCount]
	}
	return p, nil
}

// fold is a member's name without the habits of spelling.
func fold(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}
