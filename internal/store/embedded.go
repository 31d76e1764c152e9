package store

import "github.com/alicebob/miniredis/v2"

// embedded is a Redis in the process. It forgets everything when the process ends, and no other process shares
// it: it is for trying out and for one gateway alone. Each command costs it time in proportion to the number of keys.
type embedded struct{ *miniredis.Miniredis }

func startEmbedded() (*embedded, error) {
	m, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	m.ClockTTL(true) // each key ages from the moment it is set; without it, no key expires
	return &embedded{m}, nil
}

func (e *embedded) stop() { e.Close() }
