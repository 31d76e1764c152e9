package canonical_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"ais-gateway/internal/canonical"
)

// spellings are other spellings of an id.
func spellings(id string) []string {
	between := func(mark string) string { return strings.Join(strings.Split(id, ""), mark) }
	return []string{
		strings.ToUpper(id), strings.ToLower(id), strings.ToTitle(id),
		norm.NFC.String(id), norm.NFD.String(id), norm.NFKC.String(id), norm.NFKD.String(id),
		" " + id, id + "\t", "\u00a0" + id + "\u3000", "\ufeff" + id, between("\u200b"), between("\u00ad"), between("\u2060"),
		between("\u202e"), between("\ufe0f"), between("\u034f"), between("\u3164"), between("\u180e"), between("\u2800"),
		between("\U000e0041"), between("\u2009"),
		wide(id), norm.NFD.String(strings.ToUpper(wide(between("\u200d")))),
	}
}

// wide has the ASCII letters and digits of an id in full width.
func wide(id string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' {
			return r + '！' - '!'
		}
		return r
	}, id)
}

func TestCountedID(t *testing.T) {
	t.Parallel()
	const id = "4f1e2d3c-0000-4000-8000-00000000000a"
	bare := strings.ReplaceAll(id, "-", "")
	forms := []string{
		id, bare, "{" + id + "}", "{" + bare + "}", "(" + id + ")", "urn:uuid:" + id, "URN:UUID:{" + id + "}", "uuid:" + bare,
		strings.ReplaceAll(id, "-", "\u2010"), strings.ReplaceAll(id, "-", "\u2011"), strings.ReplaceAll(id, "-", "\u2212"),
		bare[:16] + "-" + bare[16:],
	}
	for _, form := range forms {
		for _, other := range append(spellings(form), form) {
			if got := canonical.CountedID(other); got != id {
				t.Errorf("%+q is counted as %+q", other, got)
			}
		}
	}
	for _, opaque := range []string{"GFiTpF3:EBy5xGqQMatk", "Ärger-ﬁne²", "straße", "ΟΔΟΣ", "urn:uuid:4f1e", "e\u0301a"} {
		for _, other := range spellings(opaque) {
			if canonical.CountedID(other) != canonical.CountedID(opaque) {
				t.Errorf("%+q and %+q are counted apart", opaque, other)
			}
		}
	}
	seen := map[string]string{}
	for _, apart := range []string{"a", "b", "ab", "a-b", "a:b", "a/b", "ä", "1", "urn", "urn:uuid:", id, id[:35] + "b", id + id, "{" + id[1:] + "}"} {
		got := canonical.CountedID(apart)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are counted together", apart, other)
		}
		seen[got] = apart
	}
}

func FuzzCountedID(f *testing.F) {
	for _, seed := range []string{
		"", "GFiTpF3:EBy5xGqQMatk", "{4F1E2D3C-0000-4000-8000-00000000000A}", "e\u200d\u0301", "\u1e9e\u0130\u0131\u017f\u03c2", "\ufdfa",
		"\xff", "\u0345\u0390", "\u1100\u115f\u1161",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got := canonical.CountedID(id)
		if again := canonical.CountedID(got); again != got {
			t.Errorf("%+q becomes %+q, and that %+q", id, got, again)
		}
		if !utf8.ValidString(id) {
			return
		}
		for _, other := range []string{norm.NFC.String(id), norm.NFD.String(id), norm.NFKC.String(id), "\u00a0" + id + "\u200b"} {
			if canonical.CountedID(other) != got {
				t.Errorf("%+q is counted apart from %+q", other, id)
			}
		}
	})
}

// TestUsualForm: the usual form of a UUID is counted like its other forms.
func TestUsualForm(t *testing.T) {
	for range 1000 {
		id := uuid.NewString()
		for _, usual := range []string{id, strings.ToUpper(id)} {
			for _, other := range []string{"{" + usual + "}", strings.ReplaceAll(usual, "-", ""), " " + usual} {
				if got, want := canonical.CountedID(usual), canonical.CountedID(other); got != want {
					t.Fatalf("%q is counted as %q, and %q as %q", usual, got, other, want)
				}
			}
		}
	}
}
