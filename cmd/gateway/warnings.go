package main

import (
	"context"
	"slices"
	"time"

	"ais-gateway/internal/config"
)

// warnings are shown to the operator on /readyz although the gateway serves.
type warnings struct{ sources []func() []string }

// add adds a source. It returns the current warnings, one sentence each, without personal data. Sources are added before the
// gateway serves. Every probe calls them, so they must not block.
func (w *warnings) add(source func() []string) { w.sources = append(w.sources, source) }

// now returns the current warnings, in the order in which their sources were added.
func (w *warnings) now() []string {
	var all []string
	for _, source := range w.sources {
		all = append(all, source()...)
	}
	return all
}

// warnOfConfig logs the risky values of the configuration, and adds them to the warnings.
func (a *app) warnOfConfig(ctx context.Context, c *config.Config) {
	texts := c.Warnings().Texts()
	if len(texts) > 0 {
		a.log.WarnContext(ctx, "risky configuration", "warnings", texts)
	}
	a.warnings.add(func() []string { return slices.Clone(texts) })
}

// logBlocked logs until when the configuration blocks all unattended calls, if it does.
func (a *app) logBlocked(ctx context.Context, u config.GlobalUnattended) {
	if u.ClosedUntil.After(time.Now()) {
		a.log.WarnContext(ctx, "unattended calls blocked", "closed_until", u.ClosedUntil.UTC().Format(time.RFC3339))
	}
}

// cacheWarnings reports that other gateways encrypt cached data with keys that this one does not have.
func (a *app) cacheWarnings() []string {
	if !a.secrets.lists.Unreadable() {
		return nil
	}
	return []string{"cached data is encrypted under an unknown key: give all gateways the same cache.encryptionKeyFile"}
}
