package aspspsim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// SignatureVerifier returns a function that verifies the signature of a request as an ASPSP of the
// Berlin Group standard does (Implementation Guidelines 1.3.x, section 12). It accepts only requests
// that are signed with the key of the certificate. Its error says what is wrong.
func SignatureVerifier(certificate *x509.Certificate) func(r *http.Request, body []byte) error {
	return func(r *http.Request, body []byte) error {
		digest, signature, sent := r.Header.Values("Digest"), r.Header.Values("Signature"), r.Header.Values("TPP-Signature-Certificate")
		switch sum := sha256.Sum256(body); {
		case len(digest) != 1 || len(signature) != 1 || len(sent) != 1:
			return errors.New("headers Digest, Signature and TPP-Signature-Certificate must each be sent once")
		case digest[0] != "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]):
			return errors.New("the digest does not match the body")
		case sent[0] != base64.StdEncoding.EncodeToString(certificate.Raw):
			return errors.New("the certificate is not that of this TPP")
		}
		params, err := parseSignature(signature[0])
		if err != nil {
			return err
		}
		return params.verify(r.Header, certificate)
	}
}

// signatureParams are the parameters of the header Signature.
type signatureParams struct{ keyID, algorithm, headers, signature string }

var signatureForm = regexp.MustCompile(`^keyId="([^"\\]*)",algorithm="([^"\\]*)",headers="([^"\\]*)",signature="([^"\\]*)"$`)

// parseSignature parses the header Signature. It accepts only the four parameters, in their usual
// order and without spaces: what a lenient ASPSP accepts, another one refuses.
func parseSignature(header string) (signatureParams, error) {
	m := signatureForm.FindStringSubmatch(header)
	if m == nil {
		return signatureParams{}, errors.New("the header Signature is ill-formed")
	}
	return signatureParams{m[1], m[2], m[3], m[4]}, nil
}

// verify verifies the parameters against the headers of a request. The signed headers must be those
// that the guidelines list, in their order, as far as the request has them.
func (p signatureParams) verify(h http.Header, certificate *x509.Certificate) error {
	var names, lines []string
	for _, name := range []string{"digest", "x-request-id", "psu-id", "psu-corporate-id", "tpp-redirect-uri"} {
		if values := h.Values(name); values != nil {
			names, lines = append(names, name), append(lines, name+": "+strings.Join(values, ", "))
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, err := base64.StdEncoding.DecodeString(p.signature)
	key, ok := certificate.PublicKey.(*rsa.PublicKey)
	switch {
	case p.algorithm != "rsa-sha256":
		return errors.New("algorithm must be rsa-sha256")
	case h.Get("X-Request-ID") == "":
		return errors.New("X-Request-ID is missing")
	case p.headers != strings.Join(names, " "):
		return fmt.Errorf("headers must be %q", strings.Join(names, " "))
	case err != nil || base64.StdEncoding.EncodeToString(signature) != p.signature:
		return errors.New("signature is not base64")
	case !ok || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil:
		return errors.New("signature does not match")
	}
	return checkKeyID(p.keyID, certificate)
}

// checkKeyID checks that keyId names the certificate: SN=<serial number in hexadecimal>,CA=<name of
// the issuer as in RFC 2253, percent-encoded>.
func checkKeyID(keyID string, certificate *x509.Certificate) error {
	number, issuer, ok := strings.Cut(strings.TrimPrefix(keyID, "SN="), ",CA=")
	serial, isHex := new(big.Int).SetString(number, 16)
	switch {
	case !ok || !strings.HasPrefix(keyID, "SN=") || !isHex || strings.TrimLeft(number, "0123456789ABCDEFabcdef") != "":
		return errors.New("keyId must have the form SN=<hexadecimal>,CA=<distinguished name>")
	case serial.Cmp(certificate.SerialNumber) != 0:
		return errors.New("SN is not the serial number of the certificate")
	}
	name, err := parseName(issuer)
	if err != nil || !slices.EqualFunc(name, certificate.Issuer.Names, attribute.is) {
		return errors.New("CA is not the issuer of the certificate")
	}
	return nil
}

// attribute is an attribute of a distinguished name: its type as OID, and its value.
type attribute struct{ oid, value string }

func (a attribute) is(other pkix.AttributeTypeAndValue) bool {
	return a.oid == other.Type.String() && a.value == other.Value
}

// oids contains the keywords of RFC 2253, and those of Go.
var oids = map[string]string{
	"CN": "2.5.4.3", "SERIALNUMBER": "2.5.4.5", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "STREET": "2.5.4.9", "O": "2.5.4.10",
	"OU": "2.5.4.11", "POSTALCODE": "2.5.4.17",
}

// nameParts matches an attribute of a name with the separator after it: type, value, separator.
var nameParts = regexp.MustCompile(`^([A-Za-z0-9.]+)=((?:[^\\,+]|\\.)*)([,+]|$)`)

// parseName parses a distinguished name in the form of RFC 2253, percent-encoded. It returns the
// attributes in the order of a certificate, which is the reverse order but for attributes that are
// joined by "+".
func parseName(encoded string) ([]attribute, error) {
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return nil, err
	}
	var name, joined []attribute
	for separator := ","; separator != ""; {
		m := nameParts.FindStringSubmatch(text)
		if m == nil {
			return nil, errors.New("not a distinguished name")
		}
		a := attribute{m[1], unescape(m[2])}
		if oid, known := oids[m[1]]; known {
			a.oid = oid
		}
		if strings.HasPrefix(m[2], "#") {
			if a.value, err = fromDER(m[2][1:]); err != nil {
				return nil, err
			}
		}
		joined, text, separator = append(joined, a), text[len(m[0]):], m[3]
		if separator != "+" {
			name, joined = append(joined, name...), nil
		}
	}
	return name, nil
}

// unescape removes the backslash before each escaped character.
func unescape(value string) string {
	var b bytes.Buffer
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// fromDER returns the text of a value that is written as the hexadecimal form of its DER.
func fromDER(digits string) (text string, err error) {
	der, err := hex.DecodeString(digits)
	if err != nil {
		return "", err
	}
	rest, err := asn1.Unmarshal(der, &text)
	if err == nil && len(rest) > 0 {
		err = errors.New("more than one value")
	}
	return text, err
}
