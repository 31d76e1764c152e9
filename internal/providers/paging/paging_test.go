package paging

import (
	"errors"
	"math"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
)

var query = canonical.Query{Consent: "consent", RequestID: "4f1e2d3c-0000-4000-8000-000000000001", Token: "token"}

func kind(err error) canonical.Kind {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return failure.Kind
	}
	return ""
}

// pageOf returns a page that was read with the user present.
func pageOf(bytes int) providers.Response {
	return providers.Response{Body: make([]byte, bytes), SlotsLeft: math.MaxInt}
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLinks(t *testing.T) {
	for _, tt := range []struct{ name, base, link, want string }{
		{"relative to the host", "https://bank.example", "/v1/accounts?page=2", "https://bank.example/v1/accounts?page=2"},
		{"absolute", "https://bank.example", "https://bank.example/v1/accounts?page=2", "https://bank.example/v1/accounts?page=2"},
		{"host in capitals, default port", "https://bank.example", "https://BANK.example:443/v1/accounts?p=2", "https://bank.example/v1/accounts?p=2"},
		{"host with a Kelvin sign", "https://bank.example", "https://ban\u212a.example/v1/accounts?p=2", "https://bank.example/v1/accounts?p=2"},
		{"without the scheme", "https://bank.example", "//bank.example/v1/accounts?p=2", "https://bank.example/v1/accounts?p=2"},
		{"only a query", "https://bank.example/psd2", "?page=2", "https://bank.example/psd2/v1/accounts?page=2"},
		{"relative to the page", "https://bank.example/psd2/", "accounts?page=2", "https://bank.example/psd2/v1/accounts?page=2"},
		{"with the base path", "https://bank.example/psd2/", "/psd2/v1/accounts?page=2", "https://bank.example/psd2/v1/accounts?page=2"},
		{"without the base path", "https://bank.example/psd2", "/v1/accounts?page=2", "https://bank.example/psd2/v1/accounts?page=2"},
		{"escaped", "https://bank.example/a%2Fb", "/v1/accounts/x%2Fy?q=%2F", "https://bank.example/a%2Fb/v1/accounts/x%2Fy?q=%2F"},
		{"fragment", "https://bank.example", " /v1/accounts?page=2#top ", "https://bank.example/v1/accounts?page=2"},
		{"blank", "https://bank.example", " ", ""},
	} {
		base := parse(t, tt.base)
		pages := newLinks(query, base, adapter.URL(base, "v1", "accounts"))
		got, err := pages.next(pageOf(1), tt.link, 0)
		if err != nil || tt.want == "" && got != nil || tt.want != "" && (got == nil || got.String() != tt.want) {
			t.Errorf("%s: got %v, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestRefusedLinks(t *testing.T) {
	for _, tt := range []struct{ name, link, want string }{
		{"another host", "https://other.example/v1/accounts?page=2", "another server"},
		{"another host without the scheme", "//other.example/v1/accounts?page=2", "another server"},
		{"another scheme", "http://bank.example/v1/accounts?page=2", "another server"},
		{"another port", "https://bank.example:8443/v1/accounts?page=2", "another server"},
		{"host with a backslash", `https://bank.example\@other.example/v1`, "no URL"},
		{"user", "https://user@bank.example/v1/accounts?page=2", "credentials"},
		{"user of another host", "https://bank.example@other.example/v1/accounts", "credentials"},
		{"token in the query", "/v1/accounts?page=2&access_token=to%6ben", "credentials"},
		{"token in the path", "/v1/token/accounts", "credentials"},
		{"no URL", "https://bank.example/%zz", "no URL"},
		{"opaque", "mailto:bank@example", "no URL"},
		{"control character", "/v1/accounts?page=2\n3", "no URL"},
		{"space", "/v1/accounts?page=2 HTTP/1.1", "no URL"},
		{"space in an absolute link", "https://bank.example/v1/accounts?page=2 3", "no URL"},
		{"letter beyond ASCII", "/v1/accounts?page=ü", "no URL"},
		{"quote", `/v1/accounts?page="2"`, "no URL"},
		{"token beside a broken escape", "/v1/accounts?page=2&z=%zz&t=to%6ben", "no URL"},
		{"the first page in another spelling", "https://BANK.example:443/psd2/v1/accounts", "earlier page"},
		{"the first page", "/v1/accounts", "earlier page"},
		{"the first page with a fragment", "https://bank.example/psd2/v1/accounts#2", "earlier page"},
		{"escaped dots", "/psd2/%2e%2e/admin", ". or .."},
		{"out of the base URL", "../../admin", "out of the base URL"},
		{"too long", "/v1/accounts?page=" + strings.Repeat("2", 4096), "too long"},
	} {
		base := parse(t, "https://bank.example/psd2")
		pages := newLinks(query, base, adapter.URL(base, "v1", "accounts"))
		got, err := pages.next(pageOf(1), tt.link, 0)
		if got != nil || kind(err) != canonical.ProviderInvalidResponse || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", tt.name, got, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "example") {
			t.Errorf("%s: the error contains the link: %v", tt.name, err)
		}
	}
}

func TestPagesEnd(t *testing.T) {
	base := parse(t, "https://bank.example")
	for _, tt := range []struct {
		name  string
		bytes int
		link  func(page int) string
		total int
		want  int // pages that are read
		err   string
	}{
		{"circle", 1, func(page int) string { return "/v1/accounts?page=" + strconv.Itoa(page%3) }, 0, 4, "earlier page"},
		{"10,000 pages", 1, func(page int) string { return "/v1/accounts?page=" + strconv.Itoa(page) }, 0, 200, "too many pages"},
		{"10,000 announced", 1, func(page int) string { return "/v1/accounts?page=" + strconv.Itoa(page) }, 10_000, 1, "too many pages"},
		{"fewer than announced", 1, func(page int) string { return map[int]string{1: "/v1/accounts?page=2"}[page] }, 3, 2, "before their total"},
		{"large pages", 300_000, func(page int) string { return "/v1/accounts?page=" + strconv.Itoa(page) }, 0, 4, "too large"},
	} {
		pages := newLinks(query, base, adapter.URL(base, "v1", "accounts"))
		read, err := 1, error(nil)
		for ; read < 10_000; read++ {
			if _, err = pages.next(pageOf(tt.bytes), tt.link(read), tt.total); err != nil {
				break
			}
		}
		if read != tt.want || kind(err) != canonical.ProviderInvalidResponse || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d pages, %v", tt.name, read, err)
		}
	}
}

func TestSlots(t *testing.T) {
	base := parse(t, "https://bank.example")
	for _, tt := range []struct {
		name        string
		total, left int
		want        *canonical.SlotNeed
	}{
		{"one more, one left", 0, 1, nil},
		{"one more, none left", 0, 0, &canonical.SlotNeed{Needed: 2, Remaining: 0}},
		{"five in all, three left", 5, 3, &canonical.SlotNeed{Needed: 5, Remaining: 3}},
		{"four in all, three left", 4, 3, nil},
		{"fewer in all than read", 1, 0, &canonical.SlotNeed{Needed: 2, Remaining: 0}},
	} {
		pages := newLinks(query, base, adapter.URL(base, "v1", "accounts"))
		_, err := pages.next(providers.Response{SlotsLeft: tt.left}, "/v1/accounts?page=2", tt.total)
		var failure *canonical.Error
		switch {
		case tt.want == nil && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != nil && (!errors.As(err, &failure) || failure.Kind != canonical.UnattendedLimit || *failure.Slots != *tt.want):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	pages := newLinks(query, base, adapter.URL(base, "v1", "accounts"))
	if next, err := pages.next(providers.Response{}, "", 0); next != nil || err != nil {
		t.Errorf("the last page without slots: %v, %v", next, err)
	}
}
