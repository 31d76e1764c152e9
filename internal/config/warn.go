package config

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"time"

	"ais-gateway/internal/config/strict"
)

const (
	// legalLimit is the number of unattended calls within legalWindow that Regulation (EU) 2018/389, article 36(5)(b),
	// allows without the ASPSP's agreement.
	legalLimit  = 4
	legalWindow = 24 * time.Hour
)

// Warn adds a warning about the value at path. It is not safe for concurrent use.
func (c *Config) Warn(path, detail string) {
	var one Faults
	one.Add(path, detail)
	c.warnings = append(c.warnings, c.withLines(one)...)
}

// Warnings returns the risky values of the configuration and the warnings added by Warn, in the order of the file. A start
// or reload succeeds in spite of warnings.
func (c *Config) Warnings() Faults {
	w := warner{config: c}
	w.server(c.Server)
	w.redis()
	for i, a := range c.ASPSPs {
		w.unattended(strict.Entry("aspsps", i)+".unattended", a.Unattended)
	}
	if c.PSU.AllowPrivateIP {
		w.add("psu.allowPrivateIP", "accepts private and reserved addresses: only for tests")
	}
	w.files()
	all := slices.Concat(w.found, c.warnings)
	w.config.Sort(all)
	return slices.Compact(all) // an adapter may be opened more than once
}

// warner collects warnings.
type warner struct {
	config *Config
	found  Faults
}

func (w *warner) add(path, detail string) {
	w.found = append(w.found, w.config.withLines(Faults{{Path: path, Detail: detail}})...)
}

func (w *warner) server(s Server) {
	host, _, err := net.SplitHostPort(s.Address)
	if err == nil && !IsLoopback(host) && s.TLS.Server() == nil {
		w.add("server.address", "is not a loopback address and has no TLS: set server.tls, or terminate TLS in a proxy")
	}
}

// redis warns about slots that are lost with the process while real ASPSPs are called.
func (w *warner) redis() {
	if w.config.Redis.Mode == Embedded && !w.config.onlyLoopback() {
		w.add("redis.mode", "an embedded Redis loses counted calls when the process ends and is not shared between gateways")
	}
}

func (w *warner) unattended(path string, u Unattended) {
	if u.Limit > legalLimit {
		w.add(path+".limit", "above 4 is only allowed if the ASPSP has agreed to it")
	}
	if u.Window < legalWindow {
		w.add(path+".window", "below 24h is only allowed if the ASPSP has agreed to it")
	}
}

const writableDetail = "file can be written by every local user: remove this permission (chmod o-w)"

// files warns about files that every local user can write to.
func (w *warner) files() {
	walkFiles(reflect.ValueOf(w.config), "", func(path string, f File) {
		if f.writable {
			w.add(path, writableDetail)
		}
	})
	if source := w.config.source; source.writable {
		w.found.Add(source.path, writableDetail)
	}
}

// warnIfWritable adds the warnings of warner.files for the settings of an adapter at path.
func (c *Config) warnIfWritable(part any, path string) {
	walkFiles(reflect.ValueOf(part), path, func(path string, f File) {
		if f.writable {
			c.Warn(path, writableDetail)
		}
	})
}

// onlyLoopback reports whether all providers are on loopback addresses, and therefore simulators.
func (c *Config) onlyLoopback() bool {
	for _, p := range c.Providers {
		if u, err := url.Parse(p.BaseURL); err != nil || !IsLoopback(u.Hostname()) {
			return false
		}
	}
	return true
}
