package auth

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"ais-gateway/internal/recovery"
)

const (
	// pause is the least time between two readings of an issuer's keys, whatever callers send.
	minRefreshInterval = 3 * time.Second
	// readTimeout bounds one reading, discovery included.
	fetchTimeout = 5 * time.Second
	// patience is how long a request waits for it.
	waitTimeout = 2 * time.Second
	// mostWaiting is how many requests may wait at once: whoever makes up tokens must not take the places of others.
	maxWaiting = 64
	// refreshEvery is how often run reads keys that are known; longestPause is the longest between two failures.
	refreshEvery, longestPause = 5 * time.Minute, time.Minute
	// maxAge is how old keys may grow before a request has them read, if nobody else has.
	maxAge = 10 * time.Minute
)

// errNoKeys is that an issuer's keys cannot be had at the moment.
var errNoKeys = errors.New("callers: no keys")

// A keySet is an issuer's keys. It goes on with those that it has while no others can be read.
type keySet struct {
	fetch   func(context.Context) ([]jose.JSONWebKey, error)
	now     func() time.Time
	told    func(error)   // how a reading went; called by one at a time
	timeout time.Duration // of one reading

	mu          sync.Mutex
	keys        []jose.JSONWebKey // never changed, only replaced
	read, tried time.Time         // when the keys were read, and when that was begun last
	failing     bool              // whether the last reading failed
	waiting     int               // requests that wait for a reading
	reading     chan struct{}     // is closed when the one that is under way has ended; nil for none
}

// find returns the keys that fit, which are chosen from all. If none does, or all are old, they are read anew, unless they
// just were. errNoKeys says that none fits and none can be read.
func (s *keySet) find(ctx context.Context, fit func(all []jose.JSONWebKey) []jose.JSONWebKey) ([]jose.JSONWebKey, error) {
	known := s.look()
	found := fit(known.keys)
	if len(found) > 0 && !known.old {
		return found, nil
	}
	// Whoever has a key that fits does not wait for an issuer that fails.
	if done := s.begin(); done != nil && (len(found) == 0 || !known.failing) {
		if !s.queue() {
			return enough(found, true)
		}
		defer s.leave()
		select {
		case <-done:
		case <-ctx.Done():
			return enough(found, true)
		}
	}
	known = s.look()
	return enough(fit(known.keys), known.failing)
}

func (s *keySet) queue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= maxWaiting {
		return false
	}
	s.waiting++
	return true
}

func (s *keySet) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

func enough(found []jose.JSONWebKey, failing bool) ([]jose.JSONWebKey, error) {
	if len(found) == 0 && failing {
		return nil, errNoKeys
	}
	return found, nil
}

// A look is what a keySet has at one moment.
type look struct {
	keys         []jose.JSONWebKey
	old, failing bool
}

func (s *keySet) look() look {
	s.mu.Lock()
	defer s.mu.Unlock()
	return look{s.keys, s.now().Sub(s.read) >= maxAge, s.failing}
}

// begin has the keys read, or joins who does. What it returns is closed when they have been; nil if they were just
// before, so that tokens with made-up keys cannot have the issuer asked again and again.
func (s *keySet) begin() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.reading == nil && (s.tried.IsZero() || now.Sub(s.tried) >= minRefreshInterval) {
		s.reading, s.tried = make(chan struct{}), now
		go s.renew(now, s.reading)
	}
	return s.reading
}

// renew reads the keys for all who wait, on nobody's context.
func (s *keySet) renew(now time.Time, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	keys, err := s.guarded(ctx)
	s.told(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing = err != nil; !s.failing {
		s.keys, s.read = keys, now
	}
	s.reading = nil
	close(done)
}

// guarded is fetch: a document of the issuer's on which a library panics is one that cannot be read.
func (s *keySet) guarded(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if value := recover(); value != nil {
			recovery.Log(ctx, slog.Default(), value)
			err = errNoKeys
		}
	}()
	return s.fetch(ctx)
}

// run reads the keys again and again until ctx ends: soon after a failure, and later and later.
func (s *keySet) run(ctx context.Context) {
	wait := minRefreshInterval
	for {
		if done := s.begin(); done != nil {
			select {
			case <-done:
			case <-ctx.Done():
				return
			}
		}
		next := refreshEvery
		if s.look().failing {
			next, wait = wait, min(2*wait, longestPause)
		} else {
			wait = minRefreshInterval
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
