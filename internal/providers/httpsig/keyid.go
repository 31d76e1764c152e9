package httpsig

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// keyID returns the parameter keyId for a key: the serial number of its certificate, and the name of
// the certificate's issuer.
func keyID(c *x509.Certificate) (string, error) {
	name, err := issuer(c)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("SN=%X,CA=%s", c.SerialNumber, percentEncoded(name)), nil
}

// rawNameSET is a pkix.RelativeDistinguishedNameSET with the values in DER. encoding/asn1 requires
// the end of its name.
type rawNameSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// issuer returns the name of a certificate's issuer as text (RFC 2253). An attribute without a
// keyword, such as organizationIdentifier, is written as OID and the DER of its value, as it is in
// the certificate. c.Issuer.String would change the order of the attributes.
func issuer(c *x509.Certificate) (string, error) {
	var raw []rawNameSET
	if _, err := asn1.Unmarshal(c.RawIssuer, &raw); err != nil {
		return "", err
	}
	var name pkix.RDNSequence
	rest := c.Issuer.Names // all attributes in the order of the certificate, decoded
	for _, set := range raw {
		decoded := slices.Clone(rest[:len(set)])
		rest = rest[len(set):]
		for i, attribute := range decoded {
			written := pkix.RDNSequence{{attribute}}.String()
			if strings.HasPrefix(written, attribute.Type.String()) {
				decoded[i].Value = set[i].Value // pkix would encode it anew, possibly as another type of string
			}
		}
		name = append(name, decoded)
	}
	return name.String(), nil
}

// percentEncoded returns a text in which bytes that are not printable ASCII, and those with a
// meaning in a quoted parameter, are written as %XX.
func percentEncoded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c > '~' || strings.IndexByte(`"\%`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
