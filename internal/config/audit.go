package config

// AuditOutput is the destination of audit records.
type AuditOutput string

// The destinations of audit records. AuditStdout is shared with the log.
const (
	AuditStdout AuditOutput = "stdout"
	AuditStderr AuditOutput = "stderr"
	AuditFile   AuditOutput = "file"
	AuditOff    AuditOutput = "off" // reported in the log, in /readyz and by a metric
)

// AuditFull is the behaviour for a request whose audit record cannot be queued.
type AuditFull string

// The behaviours while records cannot be written.
const (
	AuditDrop   AuditFull = "drop"   // the request is served, and its record is lost
	AuditRefuse AuditFull = "refuse" // the request is refused
)

// Audit is the destination of audit records, and the key for the hashes of consents in them.
type Audit struct {
	Output   AuditOutput `yaml:"output" check:"oneof=stdout|stderr|file|off"`
	File     string      `yaml:"file"` // for AuditFile: appended to, created if missing
	WhenFull AuditFull   `yaml:"whenFull" check:"oneof=drop|refuse"`
	KeyFile  File        `yaml:"keyFile" check:"keys"` // base64 of 32 bytes; if not set, the key is derived from the cache's
}

// Key returns the 32-byte key for the hashes of consents, nil if no file is set. A key file has the
// format of the cache's, but only its first key is used.
func (a Audit) Key() []byte { return a.KeyFile.firstKey() }

func (a Audit) check(c *checker, path string) {
	switch a.Output {
	case AuditStdout, AuditStderr, AuditOff:
		c.require(path+".file", a.File == "", "only with output: file")
	case AuditFile:
		c.requireSet(path+".file", a.File != "")
	}
}
