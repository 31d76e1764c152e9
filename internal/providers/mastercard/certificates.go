package mastercard

import (
	"bytes"
	"encoding/pem"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// NotAfter implements providers.CertificateHolder, for the certificates in the signing key's file.
func (p *provider) NotAfter() time.Time { return p.certExpiry }

// certificates returns the certificates in the signing key's file, in DER. The file must be valid.
func (c Config) certificates() (chain [][]byte) {
	content := c.SigningKeyFile.Content()
	if !bytes.Contains(content, []byte("-----BEGIN ")) {
		_, own, others, err := pkcs12.DecodeChain(content, c.password())
		if err != nil {
			return nil
		}
		chain = append(chain, own.Raw)
		for _, other := range others {
			chain = append(chain, other.Raw)
		}
		return chain
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	return chain
}
