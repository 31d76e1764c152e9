package adapter

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

// maxWording is how many bytes of the texts of one error response are searched for phrases, all
// texts together.
const maxWording = 16 << 10

// A Wording splits the texts of one error response into words. It removes texts of the request,
// because banks repeat ids in their errors, and an account id such as "unattended limit" must not
// be read as a limit.
type Wording struct {
	bytesLeft    int     // bytes that may still be read
	requestTexts []Words // the texts of the request
}

// NewWording returns the Wording for an error response to the request.
func NewWording(q canonical.Query, r providers.Request) *Wording {
	w := &Wording{bytesLeft: maxWording}
	texts := []string{r.Account, q.Consent, q.RequestID, q.ASPSP, q.Token.Reveal(), q.Customer}
	if q.Merchant != nil {
		texts = append(texts, q.Merchant.ID, q.Merchant.Name)
	}
	if q.PSU != nil {
		texts = append(texts, q.PSU.IP.String(), q.PSU.UserAgent, q.PSU.DeviceID, q.PSU.GeoLocation)
	}
	for _, text := range texts {
		// A bank may repeat an id in another case, which is then split differently.
		for _, words := range []Words{splitWords(text), splitWords(foldCase(text))} {
			if len(words) > 0 && !slices.ContainsFunc(w.requestTexts, func(o Words) bool { return slices.Equal(o, words) }) {
				w.requestTexts = append(w.requestTexts, words)
			}
		}
	}
	return w
}

// IsRequestText reports whether a text is equal to a text of the request, regardless of case and
// encoding.
func (w *Wording) IsRequestText(text string) bool { return w.EndsInRequestText(text, text) }

// EndsInRequestText reports whether a text ends in a text of the request that includes the given
// end of it. For example /accounts/x:y with the end "y" ends in the account id x:y.
func (w *Wording) EndsInRequestText(text, end string) bool {
	if len(end) > maxWording {
		return false
	}
	words, least := splitWords(text[max(0, len(text)-maxWording):]), len(splitWords(end))
	return slices.ContainsFunc(w.requestTexts, func(o Words) bool {
		from := len(words) - len(o)
		return len(o) >= least && from >= 0 && slices.Equal(words[from:], o)
	})
}

// separator separates texts and replaces texts of the request, so that no phrase matches across it.
const separator = "|"

// Words returns the words of the texts, up to maxWording bytes in total, without texts of the
// request.
func (w *Wording) Words(texts ...string) Words {
	var words Words
	for _, text := range texts {
		words = append(words, w.EndWords(text, text)...)
	}
	return words
}

// EndWords returns the words of the end of a text, as Words does. Texts of the request are searched
// for before the end as well, because an id may begin there. That text counts towards the limit.
func (w *Wording) EndWords(text, end string) Words {
	if w.bytesLeft == 0 {
		return Words{separator}
	}
	over := max(0, len(end)-w.bytesLeft)
	text, end = text[:len(text)-over], end[:len(end)-over]
	text = text[max(0, len(text)-w.bytesLeft):]
	w.bytesLeft -= len(text)
	words := splitWords(text)
	return append(w.withoutRequestTexts(words, len(words)-len(splitWords(end))), separator)
}

// withoutRequestTexts returns words with each text of the request replaced by a separator, and
// without the words before from.
func (w *Wording) withoutRequestTexts(words Words, from int) Words {
	kept := make(Words, 0, len(words))
	for i := 0; i < len(words); {
		n := 0
		for _, o := range w.requestTexts {
			n = max(n, o.matchLen(words[i:]))
		}
		word := separator
		if n == 0 {
			n, word = 1, words[i]
		}
		if i += n; i > from {
			kept = append(kept, word)
		}
	}
	return kept
}

// matchLen returns how many words at the beginning of a text are the words o: all of them, even if
// the text continues without a space before or after them, or more than one if they are cut off. It
// returns 0 if they do not match.
func (o Words) matchLen(text Words) int {
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

// Words are the words of a text in lower case.
type Words []string

// SplitWords returns the words of a text that is not part of an error response, such as a name.
func SplitWords(text string) Words { return splitWords(text) }

// splitWords decodes a text and returns its words. A capital letter within a word starts a new
// word, because codes are written like tooManyRequests or psuIPAddress.
func splitWords(text string) Words {
	text = decodeEscapes(text)
	var b strings.Builder
	runes := []rune(text)
	for i, r := range runes {
		next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || unicode.IsUpper(runes[i-1]) && next) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.FieldsFunc(foldCase(b.String()), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// decodeEscapes returns a text without URL, JSON and HTML escapes, also if they are nested.
func decodeEscapes(text string) string {
	for range 3 {
		before := text
		text = html.UnescapeString(replaceEscapes(replaceEscapes(text, "%", 2), `\u`, 4))
		if text == before {
			break
		}
	}
	return text
}

// replaceEscapes replaces each mark followed by the given number of hexadecimal digits by the
// character that they encode.
func replaceEscapes(text, mark string, digits int) string {
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

// foldCase returns the same string for all texts that differ only in case.
func foldCase(text string) string { return strings.ToLower(strings.ToUpper(text)) }

// Phrases are phrases to search for, by their first words.
type Phrases map[string][][]string

// NewPhrases returns the phrases of the lists. Each has one or more words in lower case.
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

// Find returns the phrases that a text contains. It makes one pass over the text.
func (p Phrases) Find(text Words) map[string]bool {
	found := map[string]bool{}
	for i, word := range text {
		for _, phrase := range p[word] {
			if hasPrefix(text[i:], phrase) {
				found[strings.Join(phrase, " ")] = true
			}
		}
	}
	return found
}

func hasPrefix(text Words, phrase []string) bool {
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

// ContainsAny reports whether at least one of the phrases was found.
func ContainsAny(phrases []string, found map[string]bool) bool {
	for _, phrase := range phrases {
		if found[phrase] {
			return true
		}
	}
	return false
}

// IsMarkup reports whether a body is HTML or XML. It is then from a proxy or server in front of the
// provider's API.
func IsMarkup(body []byte) bool {
	return strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 1024)])), "<")
}

// LastSegment returns the fragment or the last segment of a URL, a URN or a path, and any other
// text unchanged.
func LastSegment(text string) string {
	if !strings.HasPrefix(text, "/") && !strings.Contains(text, "://") && !strings.HasPrefix(foldCase(text), "urn:") {
		return text
	}
	if u, err := url.Parse(text); err == nil && u.Fragment != "" {
		return u.Fragment
	}
	text = strings.TrimRight(text, "/")
	return text[strings.LastIndexAny(text, "/:#")+1:]
}
