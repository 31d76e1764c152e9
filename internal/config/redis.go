package config

import "crypto/tls"

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
	Mode                 RedisMode `yaml:"mode" check:"oneof=embedded|standalone|sentinel|cluster"`
	Addresses            []string  `yaml:"addresses" each:"required,address=dial,unique"` // in mode sentinel those of the sentinels
	MasterName           string    `yaml:"masterName"`
	Username             string    `yaml:"username"`
	PasswordFile         File      `yaml:"passwordFile" check:"password"` // one line, see File.Line
	SentinelUsername     string    `yaml:"sentinelUsername"`
	SentinelPasswordFile File      `yaml:"sentinelPasswordFile"` // of the sentinels, if they require one
	TLS                  TLS       `yaml:"tls"`
	// WaitReplicas is the number of replicas that must have stored a slot before its call is made
	// (WAIT); 0 for none.
	WaitReplicas int `yaml:"waitReplicas" check:"from=0"`
}

// TLS configures TLS to Redis and to the sentinels.
type TLS struct {
	Enabled         bool   `yaml:"enabled"`
	CAFile          File   `yaml:"caFile"`          // PEM; trusted for the server; the system's CAs if not set
	CertificateFile File   `yaml:"certificateFile"` // PEM; the client certificate, if the server requires one
	KeyFile         File   `yaml:"keyFile"`         // PEM; of the certificate
	ServerName      string `yaml:"serverName"`      // in the server's certificate; the host of its address if not set
}

// Client returns the TLS configuration of a client, nil if TLS is disabled. It is valid only for a
// configuration without faults.
func (t TLS) Client() *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, RootCAs: t.CAFile.pool()}
	if pair, err := tls.X509KeyPair(t.CertificateFile.Content(), t.KeyFile.Content()); err == nil {
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// check checks the keys that are required or not allowed in the mode.
func (r Redis) check(c *checker, path string) {
	if c.faulty(path + ".mode") {
		return
	}
	if r.Mode == Embedded {
		const detail = "not allowed with mode: embedded"
		// Addresses are allowed and ignored, so that a file can be tried by changing only its mode.
		c.require(path+".username", r.Username == "", detail)
		c.require(path+".passwordFile", !r.PasswordFile.Given(), detail)
		c.require(path+".tls.enabled", !r.TLS.Enabled, detail)
		c.require(path+".waitReplicas", r.WaitReplicas <= 0, detail)
	} else {
		one := r.Mode != Standalone || len(r.Addresses) <= 1
		c.requireSet(path+".addresses", len(r.Addresses) > 0)
		c.require(path+".addresses", one, "must be exactly one address with mode: standalone")
		c.requireSet(path+".passwordFile", r.Username == "" || r.PasswordFile.Given())
	}
	if r.Mode != Sentinel {
		const detail = "only with mode: sentinel"
		c.require(path+".masterName", r.MasterName == "", detail)
		c.require(path+".sentinelUsername", r.SentinelUsername == "", detail)
		c.require(path+".sentinelPasswordFile", !r.SentinelPasswordFile.Given(), detail)
		return
	}
	c.requireSet(path+".masterName", r.MasterName != "")
	c.requireSet(path+".sentinelPasswordFile", r.SentinelUsername == "" || r.SentinelPasswordFile.Given())
	noPassword := r.SentinelPasswordFile.Given() && r.SentinelPasswordFile.Line() == ""
	c.require(path+".sentinelPasswordFile", !noPassword, "file contains no password")
}

func (t TLS) check(c *checker, path string) {
	if !t.Enabled {
		const detail = "only with redis.tls.enabled: true"
		c.require(path+".caFile", !t.CAFile.Given(), detail)
		c.require(path+".certificateFile", !t.CertificateFile.Given(), detail)
		c.require(path+".keyFile", !t.KeyFile.Given(), detail)
		c.require(path+".serverName", t.ServerName == "", detail)
		return
	}
	c.certificate(path+".caFile", t.CAFile)
	if t.CertificateFile.Given() || t.KeyFile.Given() {
		c.keyPair(path, t.CertificateFile, t.KeyFile)
	}
}
