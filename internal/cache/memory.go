package cache

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/canonical"
)

var (
	//go:embed remember.lua
	rememberSource string
	rememberScript = redis.NewScript(rememberSource)
)

const (
	// RefusedFor is how long a refusal is remembered.
	RefusedFor = time.Hour
	// pagesFor is how long the number of a list's pages is remembered.
	pagesFor = 7 * 24 * time.Hour
	// maxRefusals is how many refusals of one consent are remembered; the oldest go first.
	maxRefusals = 32

	subjectSize = 43 // bytes of a subject
	codeSize    = 16 // bytes of a code with its padding
	refusalSize = subjectSize + codeSize + timeSize
)

// A Memory is the outcome of a client's earlier reads under the same consent.
type Memory struct {
	Refused canonical.Kind // why the ASPSP refused an unattended read within the last hour; "" if it did not
	Pages   int            // calls that the account list needs, if more than one; 0 if unknown
}

// Recall returns the memory for a read of the account list or of an account's balances. consent and account are the subjects
// of their refusals: hashes of 43 characters that include the user's token. For the account list they are equal.
func (c *Cache) Recall(ctx context.Context, k Key, consent, account string) (Memory, error) {
	now, values, err := c.mgetWithTime(ctx, k.prefix()+"refused", k.prefix()+"pages")
	if err != nil {
		return Memory{}, err
	}
	m := Memory{Refused: refusal(values[0], now, consent, account)}
	m.Pages, _ = strconv.Atoi(values[1])
	return m, nil
}

// refusal returns the newest kind in the text for one of the subjects; "" if there is none. An unknown account does not
// affect the consent's other accounts.
func refusal(text string, now time.Time, consent, account string) canonical.Kind {
	for ; len(text) >= refusalSize; text = text[refusalSize:] {
		kind := canonical.Kind(strings.TrimRight(text[subjectSize:subjectSize+codeSize], " "))
		micros, err := strconv.ParseInt(text[refusalSize-timeSize:refusalSize], 10, 64)
		if age := now.Sub(time.UnixMicro(micros)); err != nil || age >= RefusedFor || age < -maxClockSkew {
			continue
		}
		subject := text[:subjectSize]
		if subject == account || subject == consent && kind != canonical.AccountUnknown {
			return kind
		}
	}
	return ""
}

// RememberRefusal remembers for an hour that the ASPSP refused a subject.
func (c *Cache) RememberRefusal(ctx context.Context, k Key, subject string, kind canonical.Kind) error {
	if len(subject) != subjectSize || len(kind) > codeSize {
		return fmt.Errorf("a refusal of %d and %d bytes cannot be remembered", len(subject), len(kind))
	}
	entry := fmt.Sprintf("%s%-*s", subject, codeSize, kind)
	return rememberScript.Run(ctx, c.rdb, []string{k.prefix() + "refused"}, entry, RefusedFor.Milliseconds(),
		(maxRefusals-1)*refusalSize).Err()
}

// DeleteRefusals deletes the refusals of the consent and of its accounts.
func (c *Cache) DeleteRefusals(ctx context.Context, k Key) error {
	return c.rdb.Del(ctx, k.prefix()+"refused").Err()
}

// RememberPages remembers how many calls the account list needs. One or less deletes the number.
func (c *Cache) RememberPages(ctx context.Context, k Key, pages int) error {
	if pages <= 1 {
		return c.rdb.Del(ctx, k.prefix()+"pages").Err()
	}
	return c.rdb.Set(ctx, k.prefix()+"pages", pages, pagesFor).Err()
}
