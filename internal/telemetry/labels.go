package telemetry

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// labelSet has the attributes of one series, in the forms in which OpenTelemetry takes them.
type labelSet struct {
	attrs  []attribute.KeyValue
	record []metric.RecordOption
	add    []metric.AddOption
}

func newLabelSet(attrs []attribute.KeyValue) labelSet {
	option := metric.WithAttributes(attrs...)
	return labelSet{attrs: attrs, record: []metric.RecordOption{option}, add: []metric.AddOption{option}}
}

// labelCache holds labels by what they are made of, so that they are not made again for each
// measurement. It is safe for concurrent use.
type labelCache[K comparable] struct {
	mu    sync.RWMutex
	byKey map[K]labelSet
}

// get returns the labels of a key, which attrs makes if they are not held yet. At most maxSeries are
// held.
func (c *labelCache[K]) get(k K, attrs func() []attribute.KeyValue) labelSet {
	c.mu.RLock()
	l, ok := c.byKey[k]
	c.mu.RUnlock()
	if ok {
		return l
	}
	l = newLabelSet(attrs())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[K]labelSet{}
	}
	if len(c.byKey) < maxSeries {
		c.byKey[k] = l
	}
	return l
}
