package mypos

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mypos/mypossim"
)

func TestAllPagesAreRead(t *testing.T) {
	tests := []struct {
		name   string
		change func(*mypossim.Config)
		calls  int
	}{
		{name: "snake case, 20 on a page", calls: 3},
		{name: "camel case, 7 on a page", change: func(c *mypossim.Config) { c.Spelling, c.PageSize = mypossim.CamelCase, 7 }, calls: 9},
		{name: "one account on a page", change: func(c *mypossim.Config) { c.PageSize = 1 }, calls: 60},
		{name: "all on one page", change: func(c *mypossim.Config) { c.PageSize = 60 }, calls: 1},
		{name: "one missing on the first page", change: func(c *mypossim.Config) { c.PageSize = 59 }, calls: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, callLog := simulate(t, tt.change)
			q := testQuery()
			q.Consent = mypossim.ManyConsent
			got, err := p.Accounts(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != mypossim.ManyCount {
				t.Errorf("%d accounts, want %d", len(got), mypossim.ManyCount)
			}
			for i, a := range got {
				if want := fmt.Sprintf("500500%05d", i+1); a.ID != want {
					t.Errorf("account %d is %s, want %s", i, a.ID, want)
				}
			}
			if n := len(callLog.Calls()); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
		})
	}
}

// pagedServer returns the pages of a list as the test defines them.
type pagedServer struct {
	queries []string // the queries, in order
	pages   func(call int, query url.Values) string
}

func (b *pagedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.queries = append(b.queries, r.URL.RawQuery)
	fmt.Fprint(w, b.pages(len(b.queries), r.URL.Query()))
}

// page returns a page with accounts from..to and the given pagination.
func page(from, to int, pagination string) string {
	var accounts []string
	for i := from; i <= to; i++ {
		accounts = append(accounts, fmt.Sprintf(`{"accountNumber":"%d"}`, i))
	}
	return `{"accounts":[` + strings.Join(accounts, ",") + `],"pagination":` + pagination + `}`
}

func script(pages ...string) func(int, url.Values) string {
	return func(call int, _ url.Values) string {
		if call > len(pages) {
			return `{"accounts":[{"accountNumber":"one call too many"}]}`
		}
		return pages[call-1]
	}
}

func TestPages(t *testing.T) {
	tests := []struct {
		name  string
		pages []string
		want  int // accounts
		asked []string
	}{
		{
			name:  "unpublished names, numbers as texts, unknown members",
			pages: []string{page(1, 2, `{"Per-Page":"2","current_page":"1","TotalItems":"3","sort":"asc","next":null}`), page(3, 3, `{"Per-Page":"2","current_page":"2","TotalItems":"3"}`)},
			want:  3, asked: []string{"", "page=2&size=2"},
		},
		{
			name:  "pages counted from 0",
			pages: []string{page(1, 2, `{"size":2,"number":0,"totalElements":3,"totalPages":2}`), page(3, 3, `{"size":2,"number":1,"totalElements":3,"totalPages":2}`)},
			want:  3, asked: []string{"", "page=1&size=2"},
		},
		{
			name:  "number of pages alone",
			pages: []string{page(1, 2, `{"page":1,"pages":2}`), page(3, 4, `{"page":2,"pages":2}`)},
			want:  4, asked: []string{"", "page=2"},
		},
		{
			name:  "size alone, ended by a short page",
			pages: []string{page(1, 2, `{"page":1,"size":2}`), page(3, 3, `{"page":2,"size":2}`)},
			want:  3, asked: []string{"", "page=2&size=2"},
		},
		{
			name:  "size alone, ended by an empty page",
			pages: []string{page(1, 2, `{"page":1,"size":2}`), page(1, 0, `{"page":2,"size":2}`)},
			want:  2, asked: []string{"", "page=2&size=2"},
		},
		{
			name:  "size is the number of accounts on the page",
			pages: []string{page(1, 2, `{"page":1,"size":2}`), page(3, 3, `{"page":2,"size":1}`)},
			want:  3, asked: []string{"", "page=2&size=2"},
		},
		{
			name:  "count is that of the page",
			pages: []string{page(1, 2, `{"page":1,"size":2,"count":2}`), page(3, 3, `{"page":2,"size":2,"count":1}`)},
			want:  3, asked: []string{"", "page=2&size=2"},
		},
		{
			name:  "count is that of all",
			pages: []string{page(1, 2, `{"page":1,"count":3}`), page(3, 3, `{"page":2,"count":3}`)},
			want:  3, asked: []string{"", "page=2"},
		},
		{
			name:  "total that is first given late",
			pages: []string{page(1, 2, `{"page":1,"size":2}`), page(3, 4, `{"page":2,"size":2,"total":4}`)},
			want:  4, asked: []string{"", "page=2&size=2"},
		},
		{name: "listed twice, counted twice", pages: []string{duplicatePage(`{"page":1,"total":2}`)}, want: 1, asked: []string{""}},
		{name: "listed twice, counted once", pages: []string{duplicatePage(`{"page":1,"total":1}`)}, want: 1, asked: []string{""}},
		{name: "listed twice on a full page", pages: []string{duplicatePage(`{"page":1,"size":2}`), page(2, 2, `{"page":2,"size":2}`)}, want: 2, asked: []string{"", "page=2&size=2"}},
		{name: "last pages overlap", pages: []string{page(1, 2, `{"page":1,"total":3}`), page(2, 3, `{"page":2,"total":3}`)}, want: 3, asked: []string{"", "page=2"}},
		{name: "total reached at once", pages: []string{page(1, 2, `{"total":2}`)}, want: 2, asked: []string{""}},
		{name: "nothing at all", pages: []string{page(1, 0, `{"page":0,"size":20,"total":0,"pages":0}`)}, asked: []string{""}},
		{name: "short page without a number", pages: []string{page(1, 2, `{"size":20}`)}, want: 2, asked: []string{""}},
		{name: "nulls beside numbers", pages: []string{page(1, 2, `{"total":2,"page":null,"size":null}`)}, want: 2, asked: []string{""}},
		{name: "two words that agree", pages: []string{page(1, 2, `{"total":2,"totalCount":2,"page":1,"number":1}`)}, want: 2, asked: []string{""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &pagedServer{pages: script(tt.pages...)}
			got, err := serve(t, b, nil).Accounts(t.Context(), testQuery())
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != tt.want {
				t.Errorf("%d accounts, want %d", len(got), tt.want)
			}
			if diff := cmp.Diff(tt.asked, b.queries); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

// duplicatePage returns a page that lists one account twice.
func duplicatePage(pagination string) string {
	return `{"accounts":[{"accountNumber":"1"},{"accountNumber":"1"}],"pagination":` + pagination + `}`
}

// Accounts are compared by content, not by notation.
func TestListedTwiceInOtherWords(t *testing.T) {
	for one, other := range map[string]string{
		`"status":"ENABLED"`:               `"status":"enabled"`,
		`"name":" ","cashAccountType":" "`: `"name":null`,
		`"iban":"BG57INTF40015004462007"`:  `"iban":"BG57 INTF 4001 5004 4620 07"`,
	} {
		accounts := `{"accounts":[{"accountNumber":"1",` + one + `},{"accountNumber":"1",` + other + `}],"pagination":{"page":1,"total":1}}`
		got, err := serve(t, &pagedServer{pages: script(accounts)}, nil).Accounts(t.Context(), testQuery())
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %+v, %v", accounts, got, err)
		}
	}
	different := `{"accounts":[{"accountNumber":"1","name":"a"},{"accountNumber":"1","name":"b"}]}`
	_, err := serve(t, &pagedServer{pages: script(different)}, nil).Accounts(t.Context(), testQuery())
	wantKind(t, err, canonical.ProviderInvalidResponse)
}

// A text of white space is a missing value.
func TestBlankTextsAreLeftOut(t *testing.T) {
	blank := `{"accounts":[{"accountNumber":"1","iban":" ","currency":" ","status":" ","name":" ","cashAccountType":" "}]}`
	got, err := serve(t, &pagedServer{pages: script(blank)}, nil).Accounts(t.Context(), testQuery())
	want := []canonical.Account{{
		ID: "1", Identification: canonical.Identification{Scheme: canonical.SchemeProvider, Value: "1"}, Type: canonical.AccountTypeOther,
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	balances := `{"account":{"iban":" "},"balances":[{"amount":1,"currency":"EUR","balanceType":" "}]}`
	held, err := serve(t, &pagedServer{pages: script(balances)}, nil).Balances(t.Context(), testQuery(), "1")
	if err != nil || held.Identification != (canonical.Identification{}) || held.Balances[0].ProviderType != "" {
		t.Errorf("%+v, %v", held, err)
	}
}

// endlessPages returns pages that always continue with one more account.
func endlessPages(pagination string) func(int, url.Values) string {
	return func(call int, _ url.Values) string {
		return page(call, call, strings.ReplaceAll(pagination, "N", strconv.Itoa(call)))
	}
}

func TestPagesFailClosed(t *testing.T) {
	tests := []struct {
		name  string
		pages func(int, url.Values) string
		calls int
	}{
		{name: "empty pagination", pages: script(page(1, 2, `{}`)), calls: 1},
		{name: "nothing readable", pages: script(page(1, 2, `{"next":"abc","of":3}`)), calls: 1},
		{name: "nulls alone", pages: script(page(1, 2, `{"page":null,"total":null}`)), calls: 1},
		{name: "page number alone", pages: script(page(1, 2, `{"page":1}`)), calls: 1},
		{name: "count that may be of the page or of all", pages: script(page(1, 2, `{"page":1,"count":2}`)), calls: 1},
		{name: "size of 0 alone", pages: script(page(1, 2, `{"size":0}`)), calls: 1},
		{name: "total is no number", pages: script(page(1, 2, `{"total":"many"}`)), calls: 1},
		{name: "total is negative", pages: script(page(1, 2, `{"total":-1}`)), calls: 1},
		{name: "total is negative, size is given", pages: script(page(1, 2, `{"page":1,"size":20,"total":-1}`)), calls: 1},
		{name: "total is a fraction", pages: script(page(1, 2, `{"total":2.5}`)), calls: 1},
		{name: "total is true", pages: script(page(1, 2, `{"total":true}`)), calls: 1},
		{name: "total is an object", pages: script(page(1, 2, `{"total":{"count":2}}`)), calls: 1},
		{name: "two totals", pages: script(page(1, 2, `{"total":2,"totalCount":5}`)), calls: 1},
		{name: "more than the total", pages: script(page(1, 3, `{"total":2}`)), calls: 1},
		{name: "more than the total, later", pages: script(page(1, 2, `{"page":1,"total":3}`), page(3, 4, `{"page":2,"total":3}`)), calls: 2},
		{name: "accounts on no page", pages: script(page(1, 2, `{"pages":0}`)), calls: 1},
		{name: "first page is the second", pages: script(page(1, 2, `{"page":2,"total":2}`)), calls: 1},
		{name: "more pages, no page number", pages: script(page(1, 2, `{"total":3}`)), calls: 1},
		{name: "empty page before the total", pages: script(page(1, 2, `{"page":1,"total":3}`), page(1, 0, `{"page":2,"total":3}`)), calls: 2},
		{name: "empty page before the last", pages: script(page(1, 0, `{"page":1,"pages":2}`)), calls: 1},
		{name: "last page before the total", pages: script(page(1, 2, `{"page":1,"total":3,"pages":1}`)), calls: 1},
		{name: "total before the last page", pages: script(page(1, 2, `{"page":1,"total":2,"pages":2}`)), calls: 1},
		{name: "server ignores page", pages: script(page(1, 2, `{"page":1,"total":4}`), page(1, 2, `{"page":1,"total":4}`)), calls: 2},
		{name: "pages overlap", pages: script(page(1, 2, `{"page":1,"total":4}`), page(2, 3, `{"page":2,"total":4}`)), calls: 2},
		{name: "one page twice", pages: script(page(1, 2, `{"page":1,"pages":2}`), page(1, 2, `{"page":2,"pages":2}`)), calls: 2},
		{name: "listed twice, and one is missing", pages: script(duplicatePage(`{"page":1,"total":3}`), page(2, 1, `{"page":2,"total":3}`)), calls: 2},
		{name: "total grows", pages: script(page(1, 2, `{"page":1,"total":4}`), page(3, 4, `{"page":2,"total":5}`)), calls: 2},
		{name: "total shrinks", pages: script(page(1, 2, `{"page":1,"total":4}`), page(3, 3, `{"page":2,"total":3}`)), calls: 2},
		{name: "number of pages changes", pages: script(page(1, 2, `{"page":1,"pages":2}`), page(3, 3, `{"page":2,"pages":3}`)), calls: 2},
		{name: "another page than asked for", pages: script(page(1, 2, `{"page":1,"total":4}`), page(3, 4, `{"page":3,"total":4}`)), calls: 2},
		{name: "second page without a number", pages: script(page(1, 2, `{"page":1,"total":4}`), page(3, 4, `{"total":4}`)), calls: 2},
		{name: "second page without pagination", pages: script(page(1, 2, `{"page":1,"total":4}`), `{"accounts":[{"accountNumber":"3"},{"accountNumber":"4"}]}`), calls: 2},
		{name: "second page without accounts", pages: script(page(1, 2, `{"page":1,"total":4}`), `{"pagination":{"page":2,"total":4}}`), calls: 2},
		{name: "second page is bad", pages: script(page(1, 2, `{"page":1,"total":3}`), `{"accounts":[{"accountNumber":"3","currency":"x"}],"pagination":{"page":2,"total":3}}`), calls: 2},
		{name: "total beyond reason", pages: script(page(1, 2, `{"page":1,"total":10001}`)), calls: 1},
		{name: "number of pages beyond reason", pages: script(page(1, 2, `{"page":1,"pages":201}`)), calls: 1},
		{name: "numbers beyond int", pages: script(page(1, 2, `{"total":99999999999999999999}`)), calls: 1},
		{name: "never ends", pages: endlessPages(`{"page":N,"size":1}`), calls: 200},
		{name: "too many on one page", pages: script(page(1, 10_001, `null`)), calls: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &pagedServer{pages: tt.pages}
			got, err := serve(t, b, nil).Accounts(t.Context(), testQuery())
			wantKind(t, err, canonical.ProviderInvalidResponse)
			if got != nil {
				t.Errorf("%d accounts beside the error", len(got))
			}
			if len(b.queries) != tt.calls {
				t.Errorf("%d calls, want %d: %v", len(b.queries), tt.calls, b.queries)
			}
		})
	}
}

// TestEveryPageNameIsRead checks each entry of pageFieldNames.
func TestEveryPageNameIsRead(t *testing.T) {
	rows := 0
	for m, names := range map[pageField]string{
		pageSize:       "pagesize size perpage limit itemsperpage",
		pageNumber:     "page currentpage pagenumber current number",
		totalCount:     "total totalcount totalelements totalitems totalresults totalrecords",
		totalPages:     "totalpages pages pagecount",
		ambiguousCount: "count",
	} {
		for _, name := range strings.Fields(names) {
			rows++
			readsPageName(t, name, m)
		}
	}
	if rows != len(pageFieldNames) {
		t.Errorf("%d rows are tested, of %d", rows, len(pageFieldNames))
	}
}

// readsPageName reads three accounts on two pages, with several spellings of the name.
func readsPageName(t *testing.T, name string, m pageField) {
	t.Helper()
	for _, spelled := range []string{name, strings.ToUpper(name), name[:1] + "_" + name[1:], name[:1] + "-" + name[1:]} {
		first, second := map[string]int{"page": 1}, map[string]int{"page": 2}
		switch m {
		case pageNumber:
			first, second = map[string]int{spelled: 1, "total": 3}, map[string]int{spelled: 2, "total": 3}
		case pageSize, totalPages:
			first[spelled], second[spelled] = 2, 2
		case totalCount, ambiguousCount:
			first[spelled], second[spelled] = 3, 3
		}
		b := &pagedServer{pages: script(page(1, 2, object(first)), page(3, 3, object(second)))}
		got, err := serve(t, b, nil).Accounts(t.Context(), testQuery())
		if err != nil || len(got) != 3 || len(b.queries) != 2 {
			t.Errorf("%s: %d accounts in %d calls, %v", spelled, len(got), len(b.queries), err)
		}
	}
}

func object(members map[string]int) string {
	var all []string
	for name, n := range members {
		all = append(all, fmt.Sprintf("%q:%d", name, n))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestEachPageTakesASlot checks that each page takes a slot, and that an incomplete list is an
// error.
func TestEachPageTakesASlot(t *testing.T) {
	slots := counter(t)
	read := func(perPage int) (calls int, err error) {
		sim, callLog := simulator(func(c *mypossim.Config) {
			c.PageSize = perPage
			c.Log.SetPolicy(testASPSP, aspspsim.LegalPolicy)
		})
		q := unattendedQuery()
		q.Consent = mypossim.ManyConsent
		got, err := serve(t, sim, slots).Accounts(t.Context(), q)
		if err != nil && got != nil {
			t.Error("accounts beside the error")
		}
		return len(callLog.Calls()), err
	}
	if calls, err := read(15); err != nil || calls != 4 {
		t.Errorf("four pages: %d calls, %v", calls, err)
	}
	calls, err := read(12)
	if failure := wantKind(t, err, canonical.UnattendedLimit); failure.Origin != canonical.OriginASPSP || calls != 5 {
		t.Errorf("five pages: %d calls, %v", calls, failure)
	}
}

// The size of all pages of a list is limited together, to the maximum size of one response.
func TestPagesAreBoundedTogether(t *testing.T) {
	for pages, ok := range map[int]bool{3: true, 4: false} {
		var written []string
		for i := range pages {
			page := page(i+1, i+1, fmt.Sprintf(`{"page":%d,"pages":%d}`, i+1, pages))
			written = append(written, `{"x":"`+strings.Repeat("x", 300_000)+`",`+page[1:])
		}
		got, err := serve(t, &pagedServer{pages: script(written...)}, nil).Accounts(t.Context(), testQuery())
		switch {
		case !ok:
			wantKind(t, err, canonical.ProviderInvalidResponse)
		case err != nil || len(got) != pages:
			t.Errorf("%d pages: %d accounts, %v", pages, len(got), err)
		}
	}
}
