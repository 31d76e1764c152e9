package config

import (
	"crypto/tls"
	"crypto/x509"

	"ais-gateway/internal/config/strict"
)

// RedisMode is the deployment mode of Redis.
type RedisMode string

// The modes of Redis. Embedded is a Redis server in the process, for trials with a single gateway.
const (
	Embedded   RedisMode = "embedded"
	Standalone RedisMode = "standalone"
	Sentinel   RedisMode = "sentinel"
	Cluster    RedisMode = "cluster"
)

// Redis configures the connection to Redis.
type Redis struct {
	Mode                 RedisMode `yaml:"mode"`
	Addresses            []string  `yaml:"addresses"` // host:port; in mode sentinel those of the sentinels
	MasterName           string    `yaml:"masterName"`
	Username             string    `yaml:"username"`
	PasswordFile         File      `yaml:"passwordFile"` // one line, see File.Line
	SentinelUsername     string    `yaml:"sentinelUsername"`
	SentinelPasswordFile File      `yaml:"sentinelPasswordFile"` // of the sentinels, if they require one
	TLS                  TLS       `yaml:"tls"`
	// WaitReplicas is the number of replicas that must have stored a slot before its call is made (WAIT); 0 for none.
	WaitReplicas int `yaml:"waitReplicas"`
}

// TLS configures TLS to Redis and to the sentinels.
type TLS struct {
	Enabled         bool   `yaml:"enabled"`
	CAFile          File   `yaml:"caFile"`          // PEM; trusted for the server; the system's CAs if not set
	CertificateFile File   `yaml:"certificateFile"` // PEM; the client certificate, if the server requires one
	KeyFile         File   `yaml:"keyFile"`         // PEM; of the certificate
	ServerName      string `yaml:"serverName"`      // in the server's certificate; the host of its address if not set
}

// Client returns the TLS configuration of a client, nil if TLS is disabled. It is valid only for a configuration without
// faults.
func (t TLS) Client() *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile.Given() {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(t.CAFile.Content())
	}
	if pair, err := tls.X509KeyPair(t.CertificateFile.Content(), t.KeyFile.Content()); err == nil {
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// redisMode returns the mode for further checks, "" if it is invalid.
func (c *checker) redisMode(mode RedisMode) RedisMode {
	if c.refused("redis.mode") {
		return ""
	}
	switch mode {
	case Embedded, Standalone, Sentinel, Cluster:
		return mode
	}
	c.fault("redis.mode", "must be embedded, standalone, sentinel or cluster")
	return ""
}

func (c *checker) redis(r Redis, mode RedisMode) {
	c.require("redis.passwordFile", !r.PasswordFile.Given() || r.PasswordFile.Line() != "", "file contains no password")
	seen := firsts{}
	for i, a := range r.Addresses {
		c.address(strict.Entry("redis.addresses", i), a, false)
		c.unique(seen, strict.Entry("redis.addresses", i), a)
	}
	c.tls(r.TLS)
	c.require("redis.waitReplicas", r.WaitReplicas >= 0, "must be 0 or more")
	switch mode {
	case "":
		return
	case Embedded:
		const detail = "not allowed with mode: embedded"
		// Addresses are allowed and ignored, so that a file can be tried by changing only its mode.
		c.require("redis.username", r.Username == "", detail)
		c.require("redis.passwordFile", !r.PasswordFile.Given(), detail)
		c.require("redis.tls.enabled", !r.TLS.Enabled, detail)
		c.require("redis.waitReplicas", r.WaitReplicas <= 0, detail)
	case Standalone, Sentinel, Cluster:
		if c.requireSet("redis.addresses", len(r.Addresses) > 0) {
			c.require("redis.addresses", mode != Standalone || len(r.Addresses) == 1, "must be exactly one address with mode: standalone")
		}
		if r.Username != "" {
			c.requireSet("redis.passwordFile", r.PasswordFile.Given())
		}
	}
	c.sentinel(r, mode)
}

// sentinel checks the settings for mode sentinel.
func (c *checker) sentinel(r Redis, mode RedisMode) {
	if mode != Sentinel {
		const detail = "only with mode: sentinel"
		c.require("redis.masterName", r.MasterName == "", detail)
		c.require("redis.sentinelUsername", r.SentinelUsername == "", detail)
		c.require("redis.sentinelPasswordFile", !r.SentinelPasswordFile.Given(), detail)
		return
	}
	c.requireSet("redis.masterName", r.MasterName != "")
	if r.SentinelUsername != "" {
		c.requireSet("redis.sentinelPasswordFile", r.SentinelPasswordFile.Given())
	}
	c.require("redis.sentinelPasswordFile", !r.SentinelPasswordFile.Given() || r.SentinelPasswordFile.Line() != "", "file contains no password")
}

func (c *checker) tls(t TLS) {
	if !t.Enabled {
		const detail = "only with redis.tls.enabled: true"
		c.require("redis.tls.caFile", !t.CAFile.Given(), detail)
		c.require("redis.tls.certificateFile", !t.CertificateFile.Given(), detail)
		c.require("redis.tls.keyFile", !t.KeyFile.Given(), detail)
		c.require("redis.tls.serverName", t.ServerName == "", detail)
		return
	}
	c.require("redis.tls.caFile", !t.CAFile.Given() || x509.NewCertPool().AppendCertsFromPEM(t.CAFile.Content()), "file must contain a PEM certificate")
	if !t.CertificateFile.Given() && !t.KeyFile.Given() {
		return
	}
	if c.requireSet("redis.tls.certificateFile", t.CertificateFile.Given()) && c.requireSet("redis.tls.keyFile", t.KeyFile.Given()) {
		_, err := tls.X509KeyPair(t.CertificateFile.Content(), t.KeyFile.Content())
		c.require("redis.tls.keyFile", err == nil, "must be the private key of redis.tls.certificateFile (both in PEM)")
	}
}
