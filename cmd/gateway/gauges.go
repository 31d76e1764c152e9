package main

import (
	"time"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
)

// boundsOf are the bounds of what is under way at once, as ais.overload.limit tells of them.
func boundsOf(c *config.Config) map[string]int {
	l := c.Server.Limits
	return map[string]int{"in_flight": l.InFlight, "client": l.PerClient, "aspsp": l.PerASPSP}
}

// ends are when the first certificate in use of each part is valid no longer, as ais.certificate.not_after tells of it.
func (p *program) ends() map[string]time.Time {
	all := map[string]time.Time{}
	add := func(part string, end time.Time) {
		if !end.IsZero() {
			all[part] = end
		}
	}
	for name, r := range p.secrets.readers {
		if c, ok := r.now.Load().Provider.(providers.CertificateHolder); ok {
			add(name, c.NotAfter())
		}
	}
	add(partTLS, p.secure.notAfter())
	return all
}
