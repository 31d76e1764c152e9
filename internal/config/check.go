package config

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ais-gateway/internal/config/strict"
)

// checker collects the faults of values that have the right type. Details never contain a value.
type checker struct {
	file   *strict.Document
	read   strict.Result
	faults Faults
}

// fault adds a fault of the key at path, unless its value or that of a parent was already refused.
func (c *checker) fault(path, detail string) {
	if !c.refused(path) {
		c.faults.Add(path, detail)
	}
}

// refused reports whether the value at path or at a parent already has a fault.
func (c *checker) refused(path string) bool { return c.read.Refused(path) || c.file.BehindAlias(path) }

// requireSet adds a fault for a required key unless isSet, and returns isSet.
func (c *checker) requireSet(path string, isSet bool) bool {
	switch {
	case isSet:
	case c.file.Has(path):
		c.fault(path, "is empty")
	default:
		c.fault(path, "is missing")
	}
	return isSet
}

// require adds a fault unless condition holds.
func (c *checker) require(path string, condition bool, detail string) {
	if !condition {
		c.fault(path, detail)
	}
}

func (c *checker) config(all *Config) {
	c.server(all.Server)
	mode := c.redisMode(all.Redis.Mode)
	c.redis(all.Redis, mode)
	c.clients(all.Clients, all.onlyLoopback())
	if c.requireSet("providers", len(all.Providers) > 0) {
		for _, name := range slices.Sorted(maps.Keys(all.Providers)) {
			c.provider(name, all.Providers[name])
		}
	}
	if c.requireSet("aspsps", len(all.ASPSPs) > 0) {
		seen := firsts{}
		for i, a := range all.ASPSPs {
			path := strict.Entry("aspsps", i)
			c.aspsp(path, a)
			c.unique(seen, path+".id", a.ID)
			if _, ok := all.Providers[a.Provider]; c.requireSet(path+".provider", a.Provider != "") {
				c.require(path+".provider", ok || c.refused(strict.Child("providers", a.Provider)), "must be the name of a provider under providers")
			}
		}
	}
	c.cache(all.Cache, mode)
	c.audit(all.Audit)
	c.log(all.Log)
}

// firsts maps each value to the path where it was found first.
type firsts map[string]string

// unique adds a fault if a value that is not empty was found at another path before.
func (c *checker) unique(seen firsts, path, value string) {
	first, found := seen[value]
	if !found {
		seen[value] = path
	}
	c.require(path, value == "" || !found, "duplicate of "+first)
}

func (c *checker) server(s Server) {
	host, port := c.address("server.address", s.Address, true)
	admin, adminPort := c.address("server.adminAddress", s.AdminAddress, true)
	overlap := host == admin || isWildcard(host) || isWildcard(admin)
	c.require("server.adminAddress", port != adminPort || port <= 0 || !overlap, "must not be the same address and port as server.address")
	c.require("server.drainFor", s.DrainFor >= 0, "must be 0s or more")
	c.serverTLS(s.TLS)
	c.limits(s.Limits)
}

// isWildcard reports whether a listener on the host listens on all addresses.
func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// address checks a host:port and returns its parts, with port -1 if it is invalid. An address to listen on may have an
// empty host and port 0.
func (c *checker) address(path, address string, listens bool) (host string, port int) {
	if !c.requireSet(path, address != "") {
		return "", -1
	}
	host, digits, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(digits, 10, 16)
	switch {
	case err != nil:
		c.fault(path, "must be host:port")
	case portErr != nil && listens:
		c.fault(path, "port must be a number from 0 to 65535")
	case portErr != nil || n == 0 && !listens:
		c.fault(path, "port must be a number from 1 to 65535")
	case host == "" && !listens:
		c.fault(path, "must be host:port with a host")
	case strings.ContainsAny(host, " /@"):
		c.fault(path, "host must be a name or an IP address")
	default:
		return host, int(n)
	}
	return "", -1
}

func (c *checker) provider(name string, p Provider) {
	path := strict.Child("providers", name)
	c.require(path, name != "", "name must not be empty")
	if c.requireSet(path+".baseURL", p.BaseURL != "") {
		c.baseURL(path+".baseURL", p.BaseURL)
	}
	c.positive(path+".timeout", p.Timeout)
	c.transport(path, p)
}

// baseURL checks the base URL of a provider.
func (c *checker) baseURL(path, base string) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		c.fault(path, "must be an absolute https URL")
		return
	}
	c.require(path, u.Scheme == "https" || IsLoopback(u.Hostname()), "must be https (http only for loopback addresses)")
	c.require(path, u.User == nil, "must not contain a user or password")
	c.require(path, u.RawQuery == "" && !u.ForceQuery, "must not contain a query")
	c.require(path, !strings.Contains(base, "#"), "must not contain a fragment")
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		c.require(path, err == nil && n > 0, "port must be a number from 1 to 65535")
	}
}

// IsLoopback reports whether the host of a base URL is a loopback address, for which plain http and a missing client
// certificate are accepted.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback() && ip.Zone() == ""
}

func (c *checker) positive(path string, d time.Duration) {
	c.require(path, d > 0, "must be greater than 0s")
}

func (c *checker) aspsp(path string, a ASPSP) {
	if c.requireSet(path+".id", a.ID != "") {
		_, err := uuid.Parse(a.ID)
		c.require(path+".id", err == nil && len(a.ID) == 36, "must be a UUID (36 characters)")
	}
	c.requireSet(path+".name", strings.TrimSpace(a.Name) != "")

	c.require(path+".unattended.limit", a.Unattended.Limit >= 0, "must be 0 or more")
	c.positive(path+".unattended.window", a.Unattended.Window)
	switch a.Unattended.Unit {
	case UnitASPSP, UnitConsent, UnitResource:
	default:
		c.fault(path+".unattended.unit", "must be aspsp, consent or resource")
	}

	c.positive(path+".accounts.freshFor", a.Accounts.FreshFor)
	c.positive(path+".accounts.keepFor", a.Accounts.KeepFor)

	c.require(path+".breaker.consecutiveFailures", a.Breaker.ConsecutiveFailures >= 1, "must be 1 or more")
	c.require(path+".breaker.failureRatio", a.Breaker.FailureRatio > 0 && a.Breaker.FailureRatio <= 1, "must be greater than 0 and at most 1")
	c.require(path+".breaker.minimumCalls", a.Breaker.MinimumCalls >= 1, "must be 1 or more")
	c.positive(path+".breaker.interval", a.Breaker.Interval)
	c.positive(path+".breaker.openFor", a.Breaker.OpenFor)
}

func (c *checker) cache(cache Cache, mode RedisMode) {
	const path = "cache.encryptionKeyFile"
	if !cache.EncryptionKeyFile.Given() {
		if mode != Embedded && mode != "" {
			c.requireSet(path, false)
		}
		return
	}
	_, details := cache.keys()
	for _, detail := range details {
		c.fault(path, detail)
	}
}

// Keys returns the 32-byte keys for account lists: the first encrypts, all decrypt. It returns nil if no file is set.
func (c Cache) Keys() [][]byte {
	keys, _ := c.keys()
	return keys
}

// keys returns the keys of the file, which has one per line, and a detail for each invalid line.
func (c Cache) keys() (keys [][]byte, details []string) {
	lines := map[string]int{} // the line of each key
	for i, l := range bytes.Split(c.EncryptionKeyFile.Content(), []byte("\n")) {
		l = bytes.TrimSpace(l)
		if len(l) == 0 {
			continue
		}
		k, err := base64.StdEncoding.Strict().DecodeString(string(l))
		switch first := lines[string(k)]; {
		case err != nil || len(k) != 32:
			details = append(details, fmt.Sprintf("line %d must be 32 bytes in base64", i+1))
		case first != 0:
			details = append(details, fmt.Sprintf("line %d is a duplicate of line %d", i+1, first))
		default:
			lines[string(k)] = i + 1
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && len(details) == 0 {
		details = append(details, "file contains no key")
	}
	return keys, details
}
