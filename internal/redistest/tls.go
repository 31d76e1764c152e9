package redistest

import (
	"testing"

	"ais-gateway/internal/certtest"
)

// TLSFiles has the paths of the PEM files that a client of a server with TLS needs.
type TLSFiles struct {
	CA          string // the CA certificate of the server
	Certificate string // the client certificate
	Key         string // the private key of the client certificate, in PKCS #8
}

// StartTLS is Start for a server that serves TLS only, with a certificate for 127.0.0.1. It
// requires a client certificate, unless args change that ("--tls-auth-clients", "optional").
func StartTLS(t testing.TB, args ...string) (*Server, TLSFiles) {
	t.Helper()
	ca := certtest.CA(t, "redistest")
	client := ca.Issue("client")
	var files TLSFiles
	files.CA, _ = ca.Write()
	files.Certificate, files.Key = client.Write()
	certificate, key := ca.Issue("server").Write()
	settings := []string{
		"--tls-ca-cert-file", files.CA, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "yes",
	}
	return start(t, setup{dir: t.TempDir(), tls: ca.Client(client), args: append(settings, args...)}), files
}
