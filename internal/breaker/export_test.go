package breaker

// Consents returns the number of failed consents that are stored.
func (b *Breaker) Consents() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.consents.failed)
}
