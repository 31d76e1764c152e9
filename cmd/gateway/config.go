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

// check reports every fault of a configuration file, as an error, or its warnings on stderr.
func check(file string, show bool, stdout, stderr io.Writer) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings() {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if show {
		return c.Print(stdout)
	}
	fmt.Fprintf(stdout, "%s: ok\n", file)
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
	_, more := openAdapters(c, func(upstream.Config) *upstream.Transport { return upstream.New(upstream.Config{}) })
	faults = append(faults, c.UnknownProviders(slices.Sorted(maps.Keys(adapters)))...)
	faults = append(faults, c.SecondASPSPs(oneASPSP)...)
	faults = append(faults, more...)
	c.Sort(faults)
	return c, faults.Err()
}

// A connector makes a provider's way out.
type connector func(upstream.Config) *upstream.Transport

// An adapter is an opened one.
type adapter struct {
	providers.Provider
	wire  *upstream.Transport
	files []config.File // its secrets, as it was opened with them
}

// openAdapters opens the adapters of all configured providers, by name.
func openAdapters(c *config.Config, connect connector) (map[string]adapter, config.Faults) {
	opened, faults := map[string]adapter{}, config.Faults{}
	for name := range c.Providers {
		if _, known := adapters[name]; !known {
			continue // a fault of the file, which UnknownProviders reports
		}
		one, more := openAdapter(c, name, connect)
		if len(more) > 0 {
			faults = append(faults, more...)
			continue
		}
		opened[name] = one
	}
	return opened, faults
}

// openAdapter opens the adapter of one configured provider.
func openAdapter(c *config.Config, name string, connect connector) (adapter, config.Faults) {
	common := c.Providers[name]
	base, err := url.Parse(common.BaseURL)
	if err != nil {
		base = &url.URL{} // a fault of the file, which Load reports: the adapter's own are told besides
	}
	proxy, err := proxyOf(common)
	if err != nil {
		return adapter{}, c.Locate("providers."+name, err)
	}
	one := adapter{files: config.Files(common), wire: connect(upstream.Config{
		Provider: name, Timeout: common.Timeout, Roots: common.Roots(), Proxy: proxy,
	})}
	decode := func(into any) error {
		err := c.Decoder(name)(into)
		one.files = append(one.files, config.Files(into)...)
		return err
	}
	if one.Provider, err = adapters[name].open(decode, providers.Env{BaseURL: base, Timeout: common.Timeout, Client: one.wire.Client}); err != nil {
		return adapter{}, c.Locate("providers."+name, err)
	}
	return one, nil
}
