package store

import "github.com/alicebob/miniredis/v2"

// embedded is a Redis server in this process, for trials with a single gateway. Its data is lost
// when the process ends and is not shared with other processes. Each command takes time
// proportional to the number of keys.
type embedded struct{ *miniredis.Miniredis }

func startEmbedded() (*embedded, error) {
	m, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	m.ClockTTL(true) // a key's TTL starts when it is set; without this, keys never expire
	return &embedded{m}, nil
}

func (e *embedded) stop() { e.Close() }
