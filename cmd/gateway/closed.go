package main

import (
	"context"
	"time"

	"ais-gateway/internal/config"
)

// tellClosed says at the start that no call without the user is made, and until when: whoever set the time must be able to
// see that it holds, and whoever did not, why nothing is read.
func (p *program) tellClosed(ctx context.Context, u config.GlobalUnattended) {
	if u.ClosedUntil.After(time.Now()) {
		p.log.WarnContext(ctx, "unattended calls blocked", "closed_until", u.ClosedUntil.UTC().Format(time.RFC3339))
	}
}
