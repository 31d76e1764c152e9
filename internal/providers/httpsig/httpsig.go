// Package httpsig signs requests as the chapter "Signatures" (section 12) of Berlin Group's XS2A
// Implementation Guidelines 1.3.x describes it: a profile of draft-cavage-http-signatures-10. An
// adapter of an API of this standard gives [Signer.Sign] to its client. A request gets three
// headers:
//
//	Digest: SHA-256=<base64 of the SHA-256 of the body, also of an empty one>
//	Signature: keyId="SN=<serial number>,CA=<issuer>",algorithm="rsa-sha256",headers="<names>",signature="<base64>"
//	TPP-Signature-Certificate: <base64 of the certificate in DER, in one line>
//
// The signature is RSA with PKCS #1 v1.5 and SHA-256. It covers a line "name: value" for each of
// these headers that the request has, in this order, separated by a line feed: digest, x-request-id,
// psu-id, psu-corporate-id, tpp-redirect-uri. The first two are required.
//
// # Specified
//
// The guidelines list these five headers and allow no other one (section 12.2), so method, path and
// query are not signed. Names are in lower case. Date is not signed: 1.3 required it, and its Errata
// of February 2019 removed it; the example in the OpenAPI documents of 1.3.x still shows it. The
// serial number is hexadecimal without prefix, and the issuer is the full distinguished name.
// rsa-sha512 is allowed too; the gateway does not use it.
//
// Sources, which repeat the text of the guidelines: docs.airlock.com/iam, "Defining the signature
// scope" (1.3); developer.triodos.com/docs/signatures (1.3 with its Errata); the parameter Signature
// of the OpenAPI documents; github.com/adorsys/xs2a-adapter, RequestSigningService and
// RequestSigningInterceptor.
//
// # Judged
//
// The sources do not say in detail how keyId is written. All of it is in keyid.go:
//   - the serial number in capital letters, without leading zeros, as in the OpenAPI documents
//     (SN=9FA1);
//   - the distinguished name as RFC 2253 has it, the last attribute of the certificate first
//     (CN=…,O=…,C=…), as in the OpenAPI documents and in xs2a-adapter;
//   - space, quotation mark, backslash, per cent sign and all that is not printable ASCII as %XX. The
//     OpenAPI documents and xs2a-adapter have %20 for a space. For the others it is our reading: the
//     parameter then needs no other escaping.
//
// Programs that call ASPSPs differ here: there are serial numbers in lower case or decimal, and names
// with spaces or without. If an ASPSP refuses this form, change keyid.go.
//
// The order of the headers is that of the guidelines' list. xs2a-adapter sorts them by name; the
// draft allows any order that the parameter headers has.
//
// # Libraries
//
// go-fed/httpsig v1.1.0 writes algorithm="hs2019" always, fails if a header in its list is not in
// the request, and its signers are not safe for concurrent use. spacemonkeygo/httpsig writes
// Authorization, not Signature. common-fate/httpsig implements RFC 9421, which is another format.
// What is left for a library is one call of crypto/rsa.
package httpsig

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/adapterconfig"
)

// The headers of a signed request, as http.Header.Set writes them.
const (
	headerDigest      = "Digest"
	headerRequestID   = "X-Request-Id"
	headerSignature   = "Signature"
	headerCertificate = "Tpp-Signature-Certificate"
)

// signed lists the headers that are signed if the request has them, in the order of the signature.
var signed = []string{headerDigest, headerRequestID, "Psu-Id", "Psu-Corporate-Id", "Tpp-Redirect-Uri"}

// A Signer signs requests with one key. A nil *Signer is valid, and signs none. A Signer is safe for
// concurrent use.
type Signer struct {
	key         *rsa.PrivateKey
	keyID       string
	certificate string   // in base64
	chain       [][]byte // in DER
}

// New returns a signer with the certificate (QSEAL) and the RSA key in the files of the
// configuration keys signingCertificateFile and signingKeyFile. It returns nil if both are missing,
// and after adding a fault.
func New(certificate, key config.File, faults *config.Faults) *Signer {
	pair, private := adapterconfig.SigningCertificate(certificate, key, faults)
	if pair == nil {
		return nil
	}
	id, err := keyID(pair.Leaf)
	if err != nil {
		faults.Add("signingCertificateFile", "must contain a certificate with a valid name of its issuer")
		return nil
	}
	return &Signer{
		key: private, keyID: id, certificate: base64.StdEncoding.EncodeToString(pair.Leaf.Raw), chain: pair.Certificate,
	}
}

// Certificates returns the certificate and its chain, in DER; none for a nil Signer.
func (s *Signer) Certificates() [][]byte {
	if s == nil {
		return nil
	}
	return s.chain
}

var errNoRequestID = errors.New("the request has no X-Request-ID")

// Sign adds the headers of the signature to a request that is complete otherwise. It returns an
// error if the request has no X-Request-ID.
func (s *Signer) Sign(r *http.Request, body []byte) error {
	if s == nil {
		return nil
	}
	if r.Header.Get(headerRequestID) == "" {
		return errNoRequestID
	}
	digest := sha256.Sum256(body)
	r.Header.Set(headerDigest, "SHA-256="+base64.StdEncoding.EncodeToString(digest[:]))
	names, text := signingString(r.Header)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return err
	}
	r.Header.Set(headerSignature, `keyId="`+s.keyID+`",algorithm="rsa-sha256",headers="`+names+
		`",signature="`+base64.StdEncoding.EncodeToString(signature)+`"`)
	r.Header.Set(headerCertificate, s.certificate)
	return nil
}

// signingString returns the names of the signed headers, separated by spaces, and the text that is
// signed (draft-cavage-http-signatures-10, section 2.3).
func signingString(h http.Header) (names, text string) {
	var listed, lines []string
	for _, name := range signed {
		values := h[name]
		if len(values) == 0 {
			continue
		}
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = strings.Trim(v, " \t") // as net/http sends it
		}
		listed = append(listed, strings.ToLower(name))
		lines = append(lines, strings.ToLower(name)+": "+strings.Join(trimmed, ", "))
	}
	return strings.Join(listed, " "), strings.Join(lines, "\n")
}
