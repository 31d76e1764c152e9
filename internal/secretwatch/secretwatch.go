// Package secretwatch keeps in use what stands in the files of secrets: it looks at them all the time, and has what has changed
// taken over, part by part. cmd says what the parts are. It does not rely on being told of changes: a look every second sees
// the files whatever replaces them, an editor or the symbolic links by which Kubernetes swaps a whole directory.
package secretwatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"ais-gateway/internal/config"
)

// every is how often the files are looked at. What stands there is taken over when two looks have found the same: a file
// may be half written at one of them, and of a certificate and its key one may be there before the other.
const every = time.Second

// A Part is what is renewed as a whole, or not at all.
type Secret struct {
	Name  string
	Files []config.File // as they are in use
	// Renew takes over what stands in the files. With an error, which never holds any of it, nothing has changed.
	Renew func() error
}

// A Watcher looks at the files of parts. Its methods other than Look are safe for concurrent use.
type Watcher struct {
	log   *slog.Logger
	told  func(ctx context.Context, part string, renewed bool)
	parts []*part
	now   chan struct{} // asks Run for a look at once
}

type part struct {
	Secret
	tried, seen digest      // what was last taken over, or could not be; what the last look found
	stale       atomic.Bool // what was tried last could not be taken over
}

// New makes a watcher of parts whose files are in use as they stand there. told is told of each renewal that was tried.
func New(log *slog.Logger, told func(ctx context.Context, part string, renewed bool), parts []Secret) *Watcher {
	w := &Watcher{log: log, told: told, now: make(chan struct{}, 1)}
	for _, p := range parts {
		used := sum(p.Files, func(f config.File) (config.File, error) { return f, nil })
		w.parts = append(w.parts, &part{Secret: p, tried: used, seen: used})
	}
	return w
}

// Run looks at the files every second, until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Look(ctx)
		case <-w.now:
			w.log.InfoContext(ctx, "reloading secrets")
			w.again(ctx)
		}
	}
}

// Now has Run read all files at once, and take over what has changed without a second look: who calls it says that the files
// are complete. What could not be used before is tried again.
func (w *Watcher) Now() {
	select {
	case w.now <- struct{}{}:
	default: // Run will
	}
}

func (w *Watcher) again(ctx context.Context) {
	for _, p := range w.parts {
		p.seen = standing(p.Files)
		if p.seen != p.tried || p.stale.Load() {
			w.renew(ctx, p)
		}
	}
}

// Look looks at all files once, and renews what has changed and has stood there since the look before.
func (w *Watcher) Look(ctx context.Context) {
	for _, p := range w.parts {
		before := p.seen
		p.seen = standing(p.Files)
		if p.seen != p.tried && p.seen == before {
			w.renew(ctx, p)
		}
	}
}

// Stale says of every part, by its name, whether what stands in its files cannot be used, so that older secrets are.
func (w *Watcher) Stale() map[string]bool {
	all := make(map[string]bool, len(w.parts))
	for _, p := range w.parts {
		all[p.Name] = p.stale.Load()
	}
	return all
}

func (w *Watcher) renew(ctx context.Context, p *part) {
	err := w.try(ctx, p)
	p.tried = p.seen
	if standing(p.Files) != p.seen {
		p.tried = digest{} // which of both was read is not known: the next look that finds two alike tells
	}
	p.stale.Store(err != nil)
	w.told(ctx, p.Name, err == nil)
	if err != nil {
		w.log.ErrorContext(ctx, "secret reload failed, still using the previous secret", "part", p.Name, "faults", texts(err))
		return
	}
	w.log.InfoContext(ctx, "secrets reloaded", "part", p.Name)
}

// try renews a part. A key that a parser panics on must not end a gateway that has a good one.
func (w *Watcher) try(ctx context.Context, p *part) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.ErrorContext(ctx, "secret reload panicked", "part", p.Name, "panic", fmt.Sprintf("a %T", r), "stack", string(debug.Stack()))
			err = errors.New("files cannot be read")
		}
	}()
	return p.Renew()
}

// texts are an error's faults as they are logged.
func texts(err error) []string {
	var faults config.Faults
	if !errors.As(err, &faults) {
		return []string{err.Error()}
	}
	return faults.Texts()
}

// A digest tells contents of files from others.
type digest [sha256.Size]byte

// standing is what stands in the files now.
func standing(files []config.File) digest { return sum(files, config.File.Again) }

// sum is the digest of files. One that cannot be read counts with the reason.
func sum(files []config.File, read func(config.File) (config.File, error)) digest {
	var all []byte
	for _, f := range files {
		now, err := read(f)
		one := sha256.Sum256(now.Content())
		if err != nil {
			one = sha256.Sum256([]byte("unreadable: " + err.Error()))
		}
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all)
}
