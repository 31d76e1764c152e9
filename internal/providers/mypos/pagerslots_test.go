package mypos

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestRemainingPages checks the minimum number of remaining pages, so that no list is rejected
// whose pages would fit into the slots.
func TestRemainingPages(t *testing.T) {
	for _, tt := range []struct {
		name, pagination string
		held, read       int // accounts on each page, and pages read
		others           int
	}{
		{"pages", `{"page": 1, "totalPages": 5}`, 10, 1, 4},
		{"pages, the second read", `{"page": 1, "totalPages": 5}`, 10, 2, 3},
		{"size and total", `{"page": 1, "size": 10, "total": 50}`, 10, 1, 4},
		{"a last page that is not full", `{"page": 1, "size": 10, "total": 41}`, 10, 1, 4},
		{"total alone", `{"page": 1, "total": 50}`, 10, 1, 4},
		{"pages larger than their size", `{"page": 1, "size": 5, "total": 50}`, 10, 1, 4},
		{"size alone", `{"page": 1, "size": 10}`, 10, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newAccountPager()
			for page := range tt.read {
				var w wireAccounts
				text := strings.ReplaceAll(tt.pagination, `"page": 1`, `"page": `+string(rune('1'+page)))
				accounts := make([]string, tt.held)
				for i := range accounts {
					number := string(rune('a'+page)) + string(rune('a'+i))
					accounts[i] = `{"accountNumber": "` + number + `", "currency": "EUR"}`
				}
				if err := json.Unmarshal([]byte(`{"accounts": [`+strings.Join(accounts, ",")+`], "pagination": `+text+`}`), &w); err != nil {
					t.Fatal(err)
				}
				if done, err := l.addPage(w, 1); done || err != nil {
					t.Fatalf("done %t, %v", done, err)
				}
			}
			if n := l.remainingPages(); n != tt.others {
				t.Errorf("%d more pages, want %d", n, tt.others)
			}
			if failure := l.checkSlots(tt.others); failure != nil {
				t.Errorf("as many slots as pages: %v", failure)
			}
			failure := l.checkSlots(tt.others - 1)
			if failure == nil || failure.Slots.Needed != tt.read+tt.others || failure.Slots.Remaining != tt.others-1 {
				t.Errorf("one slot too few: %+v", failure)
			}
		})
	}
}
