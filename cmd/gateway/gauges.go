package main

import "ais-gateway/internal/config"

// boundsOf are the bounds of what is under way at once, as ais.overload.limit tells of them.
func boundsOf(c *config.Config) map[string]int {
	l := c.Server.Limits
	return map[string]int{"in_flight": l.InFlight, "client": l.PerClient, "aspsp": l.PerASPSP}
}
