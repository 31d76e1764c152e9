package breaker

// Consents is how many consents the breaker remembers.
func (b *Breaker) Consents() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.consents.failed)
}
