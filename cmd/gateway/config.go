package main

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/upstream"
)

// check reports every fault of a configuration file, as an error.
func check(file string, show bool, stdout io.Writer) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	if show {
		return c.Print(stdout)
	}
	fmt.Fprintf(stdout, "%s: no fault\n", file)
	return nil
}

// load reads a configuration file and checks all of it, the adapters' parts too.
func load(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if c == nil {
		return nil, err
	}
	var faults config.Faults
	if err != nil {
		faults = err.(config.Faults) //nolint:errorlint // Load returns nothing else
	}
	_, more := openAdapters(c, func(upstream.Config) *upstream.Wire { return upstream.New(upstream.Config{}) })
	faults = append(faults, c.UnknownProviders(slices.Sorted(maps.Keys(adapters)))...)
	faults = append(faults, more...)
	faults.Sort()
	return c, faults.Err()
}

// openAdapters opens the adapters of all configured providers, by name. connect makes each one's way out.
func openAdapters(c *config.Config, connect func(upstream.Config) *upstream.Wire) (map[string]providers.Provider, config.Faults) {
	opened, faults := map[string]providers.Provider{}, config.Faults{}
	for name, common := range c.Providers {
		open, known := adapters[name]
		if !known {
			continue // a fault of the file, which UnknownProviders reports
		}
		base, err := url.Parse(common.BaseURL)
		if err != nil {
			base = &url.URL{} // a fault of the file, which Load reports: the adapter's own are told besides
		}
		proxy, err := proxyOf(common)
		if err != nil {
			faults = append(faults, c.Locate("providers."+name, err)...)
		}
		wire := connect(upstream.Config{Provider: name, Timeout: common.Timeout, Roots: common.Roots(), Proxy: proxy})
		provider, err := open(c.Decoder(name), providers.Env{BaseURL: base, Timeout: common.Timeout, Client: wire.Client})
		if err != nil {
			faults = append(faults, c.Locate("providers."+name, err)...)
			continue
		}
		opened[name] = provider
	}
	return opened, faults
}
