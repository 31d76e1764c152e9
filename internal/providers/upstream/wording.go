package upstream

import (
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

// maxWording is how many bytes of a refusal's texts are searched for wording, all its texts together.
const maxWording = 16 << 10

// A Wording reads the texts of one refusal. What the request itself contained says nothing in a refusal: banks repeat
// ids, and an account id such as "unattended limit" must not become a limit.
type Wording struct {
	left int     // bytes that are still read
	own  []Words // the request's texts
}

// NewWording makes the wording of a refusal of the request.
func NewWording(q canonical.Query, r providers.Request) *Wording {
	w := &Wording{left: maxWording}
	texts := []string{r.Account, q.Consent, q.RequestID, q.ASPSP, q.Token.Reveal(), q.Customer}
	if q.Merchant != nil {
		texts = append(texts, q.Merchant.ID, q.Merchant.Name)
	}
	if q.PSU != nil {
		texts = append(texts, q.PSU.IP.String(), q.PSU.UserAgent, q.PSU.DeviceID, q.PSU.GeoLocation)
	}
	for _, text := range texts {
		// A bank that repeats an id may change its case, and with it where words begin within a word.
		for _, words := range []Words{split(text), split(fold(text))} {
			if len(words) > 0 && !slices.ContainsFunc(w.own, func(o Words) bool { return slices.Equal(o, words) }) {
				w.own = append(w.own, words)
			}
		}
	}
	return w
}

// Own reports whether a text is nothing but one that the request contained, however it is spelled.
func (w *Wording) Own(text string) bool { return w.OwnEnd(text, text) }

// OwnEnd reports whether the end of a text belongs to a text of the request that the whole text ends in: the id x:y in
// /accounts/x:y, whose end is y.
func (w *Wording) OwnEnd(text, end string) bool {
	if len(end) > maxWording {
		return false
	}
	words, least := split(text[max(0, len(text)-maxWording):]), len(split(end))
	return slices.ContainsFunc(w.own, func(o Words) bool {
		from := len(words) - len(o)
		return len(o) >= least && from >= 0 && slices.Equal(words[from:], o)
	})
}

// bar stands between texts, and in the place of what the request contained: no phrase reaches across it.
const bar = "|"

// Words are the words of texts, of as much of them as is still read, without those that the request contained.
func (w *Wording) Words(texts ...string) Words {
	var words Words
	for _, text := range texts {
		words = append(words, w.End(text, text)...)
	}
	return words
}

// End are the words of the end of a text, as Words has them. What the request contained is looked for before the end, too:
// an id may begin there. That counts as read.
func (w *Wording) End(text, end string) Words {
	if w.left == 0 {
		return Words{bar}
	}
	over := max(0, len(end)-w.left)
	text, end = text[:len(text)-over], end[:len(end)-over]
	text = text[max(0, len(text)-w.left):]
	w.left -= len(text)
	words := split(text)
	return append(w.foreign(words, len(words)-len(split(end))), bar)
}

// foreign puts a bar in the place of each of the request's texts, and leaves out the words before from.
func (w *Wording) foreign(words Words, from int) Words {
	kept := make(Words, 0, len(words))
	for i := 0; i < len(words); {
		n := 0
		for _, o := range w.own {
			n = max(n, o.at(words[i:]))
		}
		word := bar
		if n == 0 {
			n, word = 1, words[i]
		}
		if i += n; i > from {
			kept = append(kept, word)
		}
	}
	return kept
}

// at is how many words of a text, from its beginning, are one of the request's: as a whole, even if the text goes on
// without a space before or behind it, or cut off after more than one word.
func (o Words) at(text Words) int {
	n := 0
	for n < len(o) && n < len(text) && (text[n] == o[n] || n == 0 && len(o) > 1 && strings.HasSuffix(text[n], o[n])) {
		n++
	}
	if n > 0 && n < len(o) && n < len(text) &&
		(strings.HasPrefix(o[n], text[n]) || n == len(o)-1 && strings.HasPrefix(text[n], o[n])) {
		n++
	}
	if n == len(o) || n > 1 {
		return n
	}
	return 0
}

// Words are the words of a text in lower case, without what stands between them.
type Words []string

// SplitWords are the words of a text that is no part of a refusal, such as a name.
func SplitWords(text string) Words { return split(text) }

// split are the words of a text, whatever its encoding. A capital within a word begins another one: codes are written
// as tooManyRequests or psuIPAddress.
func split(text string) Words {
	text = plain(text)
	var b strings.Builder
	runes := []rune(text)
	for i, r := range runes {
		next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || unicode.IsUpper(runes[i-1]) && next) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.FieldsFunc(fold(b.String()), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// plain is a text without the encodings in which an id may be repeated: of URLs, of JSON, and of HTML, one within
// another.
func plain(text string) string {
	for range 3 {
		before := text
		text = html.UnescapeString(escapes(escapes(text, "%", 2), `\u`, 4))
		if text == before {
			break
		}
	}
	return text
}

// escapes replaces what stands after a mark, so many hexadecimal digits, by the character that they are.
func escapes(text, mark string, digits int) string {
	if !strings.Contains(text, mark) {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n, err := strconv.ParseUint(after[:min(digits, len(after))], 16, 32)
		switch {
		case err != nil || len(after) < digits:
			b.WriteString(mark)
			text = after
			continue
		case digits == 2:
			b.WriteByte(byte(n))
		default:
			b.WriteRune(rune(n))
		}
		text = after[digits:]
	}
}

// fold is the same for all spellings of a text that differ in case alone.
func fold(text string) string { return strings.ToLower(strings.ToUpper(text)) }

// Phrases are what refusals are searched for.
type Phrases map[string][][]string // by their first words

// NewPhrases makes them, each of one word or more in lower case.
func NewPhrases(lists ...[]string) Phrases {
	p := Phrases{}
	for _, list := range lists {
		for _, phrase := range list {
			words := strings.Fields(phrase)
			p[words[0]] = append(p[words[0]], words)
		}
	}
	return p
}

// In are the phrases that stand in a text, found in one pass.
func (p Phrases) In(text Words) map[string]bool {
	found := map[string]bool{}
	for i, word := range text {
		for _, phrase := range p[word] {
			if begins(text[i:], phrase) {
				found[strings.Join(phrase, " ")] = true
			}
		}
	}
	return found
}

func begins(text Words, phrase []string) bool {
	if len(text) < len(phrase) {
		return false
	}
	for i, word := range phrase {
		if text[i] != word {
			return false
		}
	}
	return true
}

// AnyOf reports whether one of the phrases was found.
func AnyOf(phrases []string, found map[string]bool) bool {
	for _, phrase := range phrases {
		if found[phrase] {
			return true
		}
	}
	return false
}

// IsPage reports whether a body is a page for people, or another document of markup. It comes from what stands before
// the provider's API.
func IsPage(body []byte) bool {
	return strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 1024)])), "<")
}

// LastSegment is what a URL, a URN or a path names in the end, and any other text as it is.
func LastSegment(text string) string {
	if !strings.HasPrefix(text, "/") && !strings.Contains(text, "://") && !strings.HasPrefix(fold(text), "urn:") {
		return text
	}
	if u, err := url.Parse(text); err == nil && u.Fragment != "" {
		return u.Fragment
	}
	text = strings.TrimRight(text, "/")
	return text[strings.LastIndexAny(text, "/:#")+1:]
}
