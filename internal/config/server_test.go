package config_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
)

// writeFiles writes files to a temporary directory and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	own := certtest.CA(t, "own")
	certificate, key, other := own.PEM, own.KeyPEM, certtest.CA(t, "other").KeyPEM
	dir := writeFiles(t, map[string]string{
		"cert": certificate, "key": key, "other": other, "cas": "# two\n" + certificate + "\n" + certificate,
		"cut": certificate + certificate[:len(certificate)/2], "mixed": certificate + key, "none": canary,
		"bad": certificate + strings.Replace(certificate, "\nMI", "\nAA", 1),
	})
	for _, tt := range []struct {
		name, tls string
		want      []string // faults
		mutual    bool
	}{
		{"both", "certificateFile: cert, keyFile: key", nil, false},
		{"client certificates", "certificateFile: cert, keyFile: key, clientCAFile: cas", nil, true},
		{"certificate alone", "certificateFile: cert", []string{"server.tls.keyFile (line 1): is missing"}, false},
		{"key alone", "keyFile: key", []string{"server.tls.certificateFile (line 1): is missing"}, false},
		{"client CA alone", "clientCAFile: cas", []string{"server.tls.certificateFile (line 1): is missing"}, false},
		{"key of another certificate", "certificateFile: cert, keyFile: other", []string{"server.tls.keyFile (line 1): must be the private key of server.tls.certificateFile (both in PEM)"}, false},
		{"not PEM", "certificateFile: none, keyFile: key", []string{"server.tls.keyFile (line 1): must be the private key of server.tls.certificateFile (both in PEM)"}, false},
		{"client CA not PEM", "certificateFile: cert, keyFile: key, clientCAFile: none", []string{"server.tls.clientCAFile (line 1): file must contain only PEM certificates"}, false},
		{"client CAs truncated", "certificateFile: cert, keyFile: key, clientCAFile: cut", []string{"server.tls.clientCAFile (line 1): file must contain only PEM certificates"}, false},
		{"a client CA that is invalid", "certificateFile: cert, keyFile: key, clientCAFile: bad", []string{"server.tls.clientCAFile (line 1): file must contain only PEM certificates"}, false},
		{"a key among client CAs", "certificateFile: cert, keyFile: key, clientCAFile: mixed", []string{"server.tls.clientCAFile (line 1): file must contain only PEM certificates"}, false},
		{"unknown", "certificateFile: cert, keyFile: key, minVersion: '1.0'", []string{"server.tls.minVersion (line 1): unknown key; known keys: certificateFile, clientCAFile, keyFile"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Read([]byte("server: {tls: {" + strings.ReplaceAll(tt.tls, "File: ", "File: "+dir+"/") + "}}\n" + minimal))
			var got []string
			for _, f := range faultsOf(t, err) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatalf("faults (-want +got):\n%s", diff)
			}
			if err != nil {
				return
			}
			s := c.Server.TLS.Server()
			if len(s.Certificates) != 1 || s.MinVersion != tls.VersionTLS12 || !s.SessionTicketsDisabled || cmp.Diff([]string{"http/1.1"}, s.NextProtos) != "" {
				t.Errorf("%+v", s)
			}
			if tt.mutual != (s.ClientAuth == tls.RequireAndVerifyClientCert) || tt.mutual != (s.ClientCAs != nil) {
				t.Errorf("client certificates: %v, %v", s.ClientAuth, s.ClientCAs)
			}
			roundTrip(t, c)
		})
	}
	if mustRead(t, minimal).Server.TLS.Server() != nil {
		t.Error("TLS without a certificate")
	}
}
