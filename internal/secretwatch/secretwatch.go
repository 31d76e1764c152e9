// Package secretwatch reloads secrets when their files change. It polls the files every second,
// which works however they are replaced: by an editor, or by the symbolic links with which
// Kubernetes swaps a whole directory. cmd defines the secrets.
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

// pollInterval is the time between two checks. A change is applied when two consecutive checks read
// the same content: at one check a file may be half written, or a certificate may have arrived
// without its key.
const pollInterval = time.Second

// Secret is a group of files that is reloaded as a whole or not at all.
type Secret struct {
	Name  string
	Files []config.File // as they are in use
	// Renew applies the current content of the files. If it returns an error, the previous content
	// must stay in use. The error must not contain any content of the files.
	Renew func() error
}

// Watcher reloads secrets. All methods except Check are safe for concurrent use.
type Watcher struct {
	log     *slog.Logger
	onRenew func(ctx context.Context, secret string, renewed bool)
	secrets []*secretState
	reload  chan struct{} // requests a reload from Run
}

type secretState struct {
	Secret
	lastTried, lastSeen digest      // the content that Renew was last called for, and that of the last check
	stale               atomic.Bool // the last Renew failed
}

// New returns a Watcher of secrets whose files are in use with their given content. Secrets without
// files are left out. onRenew is called after each Renew.
func New(log *slog.Logger, onRenew func(ctx context.Context, secret string, renewed bool), secrets []Secret) *Watcher {
	w := &Watcher{log: log, onRenew: onRenew, reload: make(chan struct{}, 1)}
	for _, s := range secrets {
		if len(s.Files) == 0 {
			continue
		}
		used := digestOf(s.Files, func(f config.File) (config.File, error) { return f, nil })
		w.secrets = append(w.secrets, &secretState{Secret: s, lastTried: used, lastSeen: used})
	}
	return w
}

// Run checks the files every second until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Check(ctx)
		case <-w.reload:
			w.log.InfoContext(ctx, "reloading secrets")
			w.reloadAll(ctx)
		}
	}
}

// ReloadNow makes Run apply all changes immediately, without a second check: the caller knows that
// the files are complete. Secrets whose last Renew failed are tried again.
func (w *Watcher) ReloadNow() {
	select {
	case w.reload <- struct{}{}:
	default: // a reload is already requested
	}
}

func (w *Watcher) reloadAll(ctx context.Context) {
	for _, s := range w.secrets {
		s.lastSeen = digestNow(s.Files)
		if s.lastSeen != s.lastTried || s.stale.Load() {
			w.renew(ctx, s)
		}
	}
}

// Check reads all files once. It renews the secrets whose content has changed and is the same as at
// the previous check.
func (w *Watcher) Check(ctx context.Context) {
	for _, s := range w.secrets {
		before := s.lastSeen
		s.lastSeen = digestNow(s.Files)
		if s.lastSeen != s.lastTried && s.lastSeen == before {
			w.renew(ctx, s)
		}
	}
}

// Stale returns for each secret, by name, whether its current files cannot be used, so that an
// older secret is in use.
func (w *Watcher) Stale() map[string]bool {
	all := make(map[string]bool, len(w.secrets))
	for _, s := range w.secrets {
		all[s.Name] = s.stale.Load()
	}
	return all
}

func (w *Watcher) renew(ctx context.Context, s *secretState) {
	err := w.tryRenew(ctx, s)
	s.lastTried = s.lastSeen
	if digestNow(s.Files) != s.lastSeen {
		s.lastTried = digest{} // Renew may have read either content, so that the next two equal checks renew again
	}
	s.stale.Store(err != nil)
	w.onRenew(ctx, s.Name, err == nil)
	if err != nil {
		w.log.ErrorContext(ctx, "secret reload failed, still using the previous secret", "part", s.Name, "faults", faultTexts(err))
		return
	}
	w.log.InfoContext(ctx, "secrets reloaded", "part", s.Name)
}

// tryRenew calls Renew. A panic in a parser becomes an error, because the previous secret can stay
// in use.
func (w *Watcher) tryRenew(ctx context.Context, s *secretState) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.ErrorContext(ctx, "secret reload panicked", "part", s.Name, "panic", fmt.Sprintf("a %T", r), "stack", string(debug.Stack()))
			err = errors.New("files cannot be read")
		}
	}()
	return s.Renew()
}

// faultTexts returns the lines under which an error is logged.
func faultTexts(err error) []string {
	var faults config.Faults
	if !errors.As(err, &faults) {
		return []string{err.Error()}
	}
	return faults.Texts()
}

// digest identifies the content of a secret's files.
type digest [sha256.Size]byte

// digestNow returns the digest of the files' current content.
func digestNow(files []config.File) digest { return digestOf(files, config.File.Reload) }

// digestOf returns the digest of the files as read returns them. For a file that cannot be read,
// the digest covers the error.
func digestOf(files []config.File, read func(config.File) (config.File, error)) digest {
	var all []byte
	for _, f := range files {
		current, err := read(f)
		sum := sha256.Sum256(current.Content())
		if err != nil {
			sum = sha256.Sum256([]byte("unreadable: " + err.Error()))
		}
		all = append(all, sum[:]...)
	}
	return sha256.Sum256(all)
}
