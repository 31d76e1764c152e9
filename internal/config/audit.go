package config

// AuditOutput is where audit records go.
type AuditOutput string

// The places for audit records. AuditStdout is where the log goes too.
const (
	AuditStdout AuditOutput = "stdout"
	AuditStderr AuditOutput = "stderr"
	AuditFile   AuditOutput = "file"
	AuditOff    AuditOutput = "off" // which is told in the log, in /readyz and by a metric
)

// AuditFull is what happens to a request whose audit record has no room.
type AuditFull string

// What may happen where records wait because nothing reads them, or they cannot be written.
const (
	AuditDrop   AuditFull = "drop"   // the request is served, and its record is lost
	AuditRefuse AuditFull = "refuse" // the request is refused
)

// Audit says where audit records go, and the key that consents are hashed with in them.
type Audit struct {
	Output   AuditOutput `yaml:"output"`
	File     string      `yaml:"file"` // for AuditFile: appended to, made if need be
	WhenFull AuditFull   `yaml:"whenFull"`
	KeyFile  File        `yaml:"keyFile"` // base64 of 32 bytes; none to derive the key from the cache's
}

// Key is the key for consents' hashes, 32 bytes; nil if no file is given.
func (a Audit) Key() []byte {
	keys, _ := a.keys()
	if len(keys) == 0 {
		return nil
	}
	return keys[0]
}

// keys reads the key file as the cache's is read, of which the first line counts.
func (a Audit) keys() ([][]byte, []string) { return Cache{EncryptionKeyFile: a.KeyFile}.keys() }

func (c *checker) audit(a Audit) {
	switch a.Output {
	case AuditStdout, AuditStderr, AuditOff:
		c.require("audit.file", a.File == "", "only with output: file")
	case AuditFile:
		c.requireSet("audit.file", a.File != "")
	default:
		c.fault("audit.output", "must be stdout, stderr, file or off")
	}
	switch a.WhenFull {
	case AuditDrop, AuditRefuse:
	default:
		c.fault("audit.whenFull", "must be drop or refuse")
	}
	if a.KeyFile.Given() {
		_, details := a.keys()
		for _, detail := range details {
			c.fault("audit.keyFile", detail)
		}
	}
}
