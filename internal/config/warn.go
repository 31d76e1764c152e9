package config

import (
	"net"
	"net/url"
	"slices"
	"time"

	"ais-gateway/internal/config/strict"
)

const (
	// legalLimit is the number of unattended calls within legalWindow that Regulation (EU)
	// 2018/389, article 36(5)(b), allows without the ASPSP's agreement.
	legalLimit  = 4
	legalWindow = 24 * time.Hour
)

const writableDetail = "file can be written by every local user: remove this permission (chmod o-w)"

// Warn adds a warning about the value at path. It is not safe for concurrent use.
func (c *Config) Warn(path, detail string) { c.warnings.Add(path, detail) }

// Warnings returns the risky values of the configuration and the warnings added by Warn, in the
// order of the file. A start or reload succeeds in spite of warnings.
func (c *Config) Warnings() Faults {
	var all Faults
	host, _, err := net.SplitHostPort(c.Server.Address)
	if err == nil && !IsLoopback(host) && c.Server.TLS.Server() == nil {
		all.Add("server.address", "is not a loopback address and has no TLS: set server.tls, or terminate TLS in a proxy")
	}
	if c.Redis.Mode == Embedded && !c.onlyLoopback() {
		all.Add("redis.mode", "an embedded Redis loses counted calls when the process ends and is not shared between gateways")
	}
	for i, a := range c.ASPSPs {
		path := strict.Entry("aspsps", i) + ".unattended"
		if a.Unattended.Limit > legalLimit {
			all.Add(path+".limit", "above 4 is only allowed if the ASPSP has agreed to it")
		}
		if a.Unattended.Window < legalWindow {
			all.Add(path+".window", "below 24h is only allowed if the ASPSP has agreed to it")
		}
	}
	if c.PSU.AllowPrivateIP {
		all.Add("psu.allowPrivateIP", "accepts private and reserved addresses: only for tests")
	}
	all = c.withLines(slices.Concat(all, writableFiles(c, ""), c.warnings))
	if c.source.writable {
		all.Add(c.source.path, writableDetail)
	}
	c.Sort(all)
	return slices.Compact(all) // an adapter may be opened more than once
}

// writableFiles returns a warning for each file in the part at path that every local user can write
// to.
func writableFiles(part any, path string) (all Faults) {
	eachFile(part, path, func(path string, f File) {
		if f.writable {
			all.Add(path, writableDetail)
		}
	})
	return all
}

// onlyLoopback reports whether all providers and ASPSPs are on loopback addresses, and therefore
// simulators.
func (c *Config) onlyLoopback() bool {
	bases := make([]string, 0, len(c.Providers)+len(c.ASPSPs))
	for _, p := range c.Providers {
		bases = append(bases, p.BaseURL)
	}
	for _, a := range c.ASPSPs {
		var own struct {
			BaseURL string `yaml:"baseURL"`
		}
		_ = a.Options.Decode(&own, "") // the adapter reports faults of the options
		bases = append(bases, own.BaseURL)
	}
	return !slices.ContainsFunc(bases, func(base string) bool {
		u, err := url.Parse(base)
		return base != "" && (err != nil || !IsLoopback(u.Hostname()))
	})
}
