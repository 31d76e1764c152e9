package main

import (
	"context"
	"slices"

	"ais-gateway/internal/config"
)

// warnings are what an operator must know although the gateway serves: /readyz shows them.
type warnings struct{ sources []func() []string }

// add adds a source, which returns what there is to warn of now, each in one sentence without personal data. It is called
// before the gateway serves; the source is called by every probe, and so must not block.
func (w *warnings) add(source func() []string) { w.sources = append(w.sources, source) }

// now returns all warnings, in the order in which their sources were added.
func (w *warnings) now() []string {
	var all []string
	for _, source := range w.sources {
		all = append(all, source()...)
	}
	return all
}

// warnOfConfig logs the risky values of the configuration, and shows them on /readyz.
func (p *program) warnOfConfig(ctx context.Context, c *config.Config) {
	texts := c.Warnings().Texts()
	if len(texts) > 0 {
		p.log.WarnContext(ctx, "risky configuration", "warnings", texts)
	}
	p.warnings.add(func() []string { return slices.Clone(texts) })
}
