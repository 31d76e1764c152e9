package callers

// Buckets is how many token buckets there are.
func Buckets(c *Callers) int {
	c.buckets.mu.Lock()
	defer c.buckets.mu.Unlock()
	return len(c.buckets.all)
}
