package e2e_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ais-gateway/internal/redistest"
)

// formatEntries are the entries of Redis by key: one for each member of a sorted set, and one for a
// text.
type formatEntries map[string][]formatEntry

// A formatEntry is a line of a file: its kind, key, remaining lifetime (ms), text, and a time in µs
// after the recording. The time is the score of a slot, or the text of the key that closes a unit.
type formatEntry struct {
	kind string // slot, until or text
	left time.Duration
	text string
	at   time.Duration
}

func (e formatEntry) line(name string) string {
	return fmt.Sprintf("%s %+q %d %+q %d", e.kind, name, e.left.Milliseconds(), e.text, e.at.Microseconds())
}

func readFormat(t *testing.T, file string) formatEntries {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := formatEntries{}
	for line := range strings.Lines(string(text)) {
		var e formatEntry
		var name string
		var left, at int64
		if _, err := fmt.Sscanf(line, "%s %q %d %q %d", &e.kind, &name, &left, &e.text, &at); err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		e.left, e.at = time.Duration(left)*time.Millisecond, time.Duration(at)*time.Microsecond
		all[name] = append(all[name], e)
	}
	return all
}

func redisNow(server *redistest.Server) time.Time {
	reply := server.Do("TIME").Val().([]any)
	seconds, _ := strconv.ParseInt(reply[0].(string), 10, 64)
	micros, _ := strconv.ParseInt(reply[1].(string), 10, 64)
	return time.Unix(seconds, micros*1000)
}

// collect adds the current entries of Redis. It keeps earlier entries that have expired.
func (e formatEntries) collect(server *redistest.Server) {
	for _, key := range server.Do("KEYS", "*").Val().([]any) {
		name := key.(string)
		if strings.HasPrefix(name, "ais:1:units:") {
			continue // only for telemetry, and written at an unknown time
		}
		now := redisNow(server)
		left, _ := server.Do("PTTL", name).Int64()
		entry := formatEntry{kind: "text", left: time.Duration(left) * time.Millisecond}
		if server.Do("TYPE", name).Val() == "zset" {
			e[name] = nil
			for _, slot := range server.Do("ZRANGE", name, 0, -1, "WITHSCORES").Val().([]any) {
				member, score := slot.([]any)[0].(string), slot.([]any)[1].(float64)
				entry.kind, entry.text, entry.at = "slot", member, time.UnixMicro(int64(score)).Sub(now)
				e[name] = append(e[name], entry)
			}
			continue
		}
		text, err := server.Do("GET", name).Text()
		if err != nil {
			continue // it has just expired
		}
		entry.text = text
		if strings.HasSuffix(name, ":closed") {
			until, _ := strconv.ParseInt(text, 10, 64)
			entry.kind, entry.text, entry.at = "until", "", time.UnixMicro(until).Sub(now)
		}
		e[name] = []formatEntry{redated(name, entry)}
	}
}

// formatLease is the lifetime of recorded leases when they are loaded. Their holders do not exist.
const formatLease = 4 * time.Second

// load puts the entries into Redis, as if they had just been recorded.
func (e formatEntries) load(t *testing.T, server *redistest.Server) {
	t.Helper()
	now := redisNow(server)
	for name, all := range e {
		for _, v := range all {
			left, at := v.left, now.Add(v.at).UnixMicro()
			if strings.Contains(name, ":lease:") {
				left = formatLease
			}
			var err error
			switch v.kind {
			case "slot":
				err = server.Do("ZADD", name, at, v.text).Err()
			case "until":
				err = server.Do("SET", name, at).Err()
			default:
				err = server.Do("SET", name, v.text).Err()
			}
			if err == nil {
				err = server.Do("PEXPIRE", name, left.Milliseconds()).Err()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

var (
	formatUUID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	formatTime   = regexp.MustCompile(`"(FetchedAt|Ended|NextAt)":"[^"]*"`)
	formatMoment = regexp.MustCompile(` \d{16}\b`)
	formatWait   = regexp.MustCompile(`"Wait":\d+`)
)

// plain returns the entries as texts that are the same in each recording: random ids and times are
// replaced by fixed words, and sealed values are decrypted.
func (e formatEntries) plain(t *testing.T) []string {
	t.Helper()
	var lines []string
	for name, all := range e {
		for _, v := range all {
			v.text = formatPlain(t, name, v.text)
			switch {
			case strings.HasSuffix(name, ":calls"): // a time in ms, until which the result may arrive
				v.at = 0
			case v.kind == "slot" && v.at > 4*time.Second && v.at <= 10*time.Second: // the timeout, less the time since the call
				v.at = 10 * time.Second
			case v.kind == "until" && v.at > 24*time.Hour-time.Minute && v.at <= 24*time.Hour: // the window
				v.at = 24 * time.Hour
			}
			if v.left = v.left.Round(time.Minute); v.left == 0 {
				v.left = time.Minute // notes and leases, which live for seconds
			}
			lines = append(lines, formatUUID.ReplaceAllString(v.line(name), "UUID"))
		}
	}
	slices.Sort(lines)
	return lines
}

// formatPlain returns a text with sealed lists and notes decrypted, and times replaced by TIME.
func formatPlain(t *testing.T, name, text string) string {
	t.Helper()
	switch {
	case strings.HasSuffix(name, ":list"):
		open, ok := formatOpen(name, text[min(16, len(text)):])
		if !ok {
			return text
		}
		if open[:16] != text[:16] {
			t.Errorf("the time of %s is %s before the sealed part, and %s in it", name, text[:16], open[:16])
		}
		return fmt.Sprintf("schema %d TIME %s", text[16], open[16:])
	case strings.Contains(name, ":note:"):
		open, ok := formatOpen(name, text)
		if !ok {
			return text
		}
		return formatWait.ReplaceAllString(formatTime.ReplaceAllString(open, `"$1":"TIME"`), `"Wait":0`)
	case strings.HasSuffix(name, ":refused"):
		return formatMoment.ReplaceAllString(text, " TIME")
	}
	return text
}

// formatLongAgo is the time of recorded lists, 2025-01-01T00:00:00Z in µs: it is in the past when
// they are read.
const formatLongAgo = "1735689600000000"

// redated returns a list with formatLongAgo as its time, and other entries unchanged.
func redated(name string, e formatEntry) formatEntry {
	if !strings.HasSuffix(name, ":list") {
		return e
	}
	open, ok := formatOpen(name, e.text[min(16, len(e.text)):])
	if !ok {
		return e
	}
	head := []byte(e.text[16:33])
	e.text = formatLongAgo + string(formatSeal().Seal(head, head[5:], []byte(formatLongAgo+open[16:]), formatData(head[0], name)))
	return e
}

// formatKey is the cache's key.
var formatKey = bytes.Repeat([]byte{7}, 32)

func formatKeyLine() string { return base64.StdEncoding.EncodeToString(formatKey) }

func formatSeal() cipher.AEAD {
	block, err := aes.NewCipher(formatKey)
	if err != nil {
		panic(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return seal
}

// formatData returns the additional data with which a value of a schema is authenticated.
func formatData(schema byte, name string) []byte { return append([]byte{schema}, name...) }

// formatOpen decrypts a value of schema 1 or 2: the schema's byte, 4 bytes of the key's id, a nonce
// of 12 bytes, and the ciphertext. It returns false for another schema or key.
func formatOpen(name, value string) (string, bool) {
	if len(value) < 17 || value[0] < 1 || value[0] > 2 {
		return "", false
	}
	open, err := formatSeal().Open(nil, []byte(value[5:17]), []byte(value[17:]), formatData(value[0], name))
	return string(open), err == nil
}
