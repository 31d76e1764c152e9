package store

import (
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how exactly keys of an embedded Redis expire.
const tick = 50 * time.Millisecond

// embedded is a Redis in the process. It forgets everything when the process ends, and no other process shares
// it: it is for trying out and for one gateway alone.
type embedded struct {
	*miniredis.Miniredis
	done, ended chan struct{}
}

func startEmbedded() (*embedded, error) {
	m, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	e := &embedded{Miniredis: m, done: make(chan struct{}), ended: make(chan struct{})}
	go e.drive()
	return e, nil
}

// drive lets keys expire: miniredis answers TIME from the real clock, but its keys grow old only when told.
func (e *embedded) drive() {
	defer close(e.ended)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-e.done:
			return
		case now := <-ticker.C:
			e.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (e *embedded) stop() {
	close(e.done)
	<-e.ended
	e.Close()
}
