package httpsig_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/httpsig"
)

const requestID = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721"

// The keys of the tests; to make one takes a noticeable time.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	weakKey  = sync.OnceValue(func() *rsa.PrivateKey { return newKey(1024) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// issue returns a certificate with the serial number and the key, of an issuer with the name.
func issue(t testing.TB, issuer pkix.RDNSequence, serial *big.Int, key crypto.Signer) *certtest.Pair {
	t.Helper()
	der, err := asn1.Marshal(issuer)
	if err != nil {
		t.Fatal(err)
	}
	ca := certtest.New(t, x509.Certificate{RawSubject: der, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return certtest.New(t, x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "TPP"}}, ca, key)
}

// attribute returns an attribute of a name; value is a string or an asn1.RawValue.
func attribute(value any, oid ...int) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

var qtsp = pkix.RDNSequence{{attribute("DE", 2, 5, 4, 6)}, {attribute("QTSP", 2, 5, 4, 3)}}

func newSigner(t testing.TB, certificate, key string) *httpsig.Signer {
	t.Helper()
	var faults config.Faults
	s := httpsig.New(config.InMemoryFile([]byte(certificate)), config.InMemoryFile([]byte(key)), &faults)
	if faults != nil {
		t.Fatal(faults)
	}
	return s
}

// TestVector compares a signed request with one that openssl made (testdata/vector.sh). The
// certificate has a serial number of 20 bytes, and an issuer with characters that are escaped.
func TestVector(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	for name, value := range map[string]string{
		"X-Request-ID": requestID, "PSU-ID": "user 1", "TPP-Redirect-URI": "https://tpp.example/back", "Date": "Fri, 20 Nov 2026 09:00:00 GMT",
	} {
		r.Header.Set(name, value)
	}
	body := []byte(`{"withBalance":true}`)
	if err := newSigner(t, read("certificate.pem"), read("key.pem")).Sign(r, body); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, name := range []string{"Digest", "Signature", "Tpp-Signature-Certificate"} {
		fmt.Fprintf(&got, "%s: %s\n", name, strings.Join(r.Header[name], "|"))
	}
	if diff := cmp.Diff(read("vector.txt"), got.String()); diff != "" {
		t.Error(diff)
	}
	block, _ := pem.Decode([]byte(read("certificate.pem")))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := aspspsim.SignatureVerifier(certificate)(r, body); err != nil {
		t.Error(err)
	}
}

// TestOverHTTP signs requests that a server receives, with and without a body, and signs a request
// a second time, as for a second attempt.
func TestOverHTTP(t *testing.T) {
	tpp := issue(t, qtsp, big.NewInt(4711), rsaKey())
	signer, verify := newSigner(t, tpp.PEM, tpp.KeyPEM), aspspsim.SignatureVerifier(tpp.Leaf)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verify(r, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	for name, tt := range map[string]struct {
		body   []byte
		header http.Header
		again  bool
	}{
		"no body":         {},
		"empty body":      {body: []byte{}},
		"body":            {body: []byte(`{"a":1}`)},
		"all headers":     {header: http.Header{"Psu-Id": {"user"}, "Psu-Corporate-Id": {"firm"}, "Tpp-Redirect-Uri": {"https://tpp.example"}}},
		"outer space":     {header: http.Header{"Psu-Id": {" \tuser "}}},
		"several values":  {header: http.Header{"Psu-Id": {"a", "b"}}},
		"not ASCII":       {header: http.Header{"Psu-Id": {"Müller"}}},
		"empty value":     {header: http.Header{"Psu-Id": {""}}},
		"signed before":   {again: true},
		"header of a TPP": {header: http.Header{"Digest": {"x", "y"}, "Signature": {"x"}, "Tpp-Signature-Certificate": {"x"}}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.header != nil {
			r.Header = tt.header
		}
		r.Header.Set("X-Request-ID", requestID)
		if tt.again {
			if err := signer.Sign(r, []byte("another")); err != nil {
				t.Fatal(err)
			}
		}
		if err := signer.Sign(r, tt.body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// signedRequest returns a request that the signer has signed, with a body.
func signedRequest(t testing.TB, s *httpsig.Signer) (*http.Request, []byte) {
	t.Helper()
	body := []byte(`{"a":1}`)
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("X-Request-ID", requestID)
	r.Header.Set("PSU-ID", "user")
	if err := s.Sign(r, body); err != nil {
		t.Fatal(err)
	}
	return r, body
}

// sign replaces the signature by one of the key over the named headers, as another implementation
// would sign.
func sign(t testing.TB, r *http.Request, key *rsa.PrivateKey, names ...string) {
	t.Helper()
	var lines []string
	for _, name := range names {
		lines = append(lines, name+": "+r.Header.Get(name))
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	set(r, "headers", strings.Join(names, " "))
	set(r, "signature", base64.StdEncoding.EncodeToString(signature))
}

// set replaces a parameter of the header Signature.
func set(r *http.Request, name, value string) {
	form := regexp.MustCompile(name + `="[^"]*"`)
	r.Header.Set("Signature", form.ReplaceAllLiteralString(r.Header.Get("Signature"), name+`="`+value+`"`))
}

// TestRefused changes a signed request in one point.
func TestRefused(t *testing.T) {
	tpp, stranger := issue(t, qtsp, big.NewInt(4711), rsaKey()), issue(t, qtsp, big.NewInt(4711), otherKey())
	signer, verify := newSigner(t, tpp.PEM, tpp.KeyPEM), aspspsim.SignatureVerifier(tpp.Leaf)
	replace := func(name, old, with string) func(*http.Request) {
		return func(r *http.Request) {
			value := r.Header.Get(name)
			if !strings.Contains(value, old) {
				t.Fatalf("%s: %s is not in it", name, old)
			}
			r.Header.Set(name, strings.Replace(value, old, with, 1))
		}
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"request id":              {replace("X-Request-ID", "9", "8"), "does not match"},
		"user":                    {replace("PSU-ID", "u", "U"), "does not match"},
		"user twice":              {func(r *http.Request) { r.Header.Add("PSU-ID", "user") }, "does not match"},
		"no request id":           {func(r *http.Request) { r.Header.Del("X-Request-ID") }, "X-Request-ID is missing"},
		"no user":                 {func(r *http.Request) { r.Header.Del("PSU-ID") }, "headers must be"},
		"a header more":           {func(r *http.Request) { r.Header.Set("TPP-Redirect-URI", "x") }, "headers must be"},
		"digest":                  {replace("Digest", "SHA-256=", "SHA-256=A"), "digest does not match"},
		"digest in lower":         {replace("Digest", "SHA", "sha"), "digest does not match"},
		"no digest":               {func(r *http.Request) { r.Header.Del("Digest") }, "each be sent once"},
		"no signature":            {func(r *http.Request) { r.Header.Del("Signature") }, "each be sent once"},
		"no certificate":          {func(r *http.Request) { r.Header.Del("TPP-Signature-Certificate") }, "each be sent once"},
		"signature twice":         {func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }, "each be sent once"},
		"certificate":             {replace("TPP-Signature-Certificate", "MII", "MIJ"), "not that of this TPP"},
		"other certificate":       {func(r *http.Request) { _ = newSigner(t, stranger.PEM, stranger.KeyPEM).Sign(r, []byte(`{"a":1}`)) }, "not that of this TPP"},
		"certificate in PEM":      {func(r *http.Request) { r.Header.Set("TPP-Signature-Certificate", tpp.PEM) }, "not that of this TPP"},
		"other key":               {func(r *http.Request) { sign(t, r, otherKey(), "digest", "x-request-id", "psu-id") }, "does not match"},
		"another order":           {func(r *http.Request) { set(r, "headers", "x-request-id digest psu-id") }, "headers must be"},
		"signed in order":         {func(r *http.Request) { sign(t, r, rsaKey(), "x-request-id", "digest", "psu-id") }, "headers must be"},
		"signed less":             {func(r *http.Request) { sign(t, r, rsaKey(), "digest", "x-request-id") }, "headers must be"},
		"signed more":             {func(r *http.Request) { sign(t, r, rsaKey(), "digest", "x-request-id", "psu-id", "date") }, "headers must be"},
		"names in capitals":       {func(r *http.Request) { set(r, "headers", "Digest X-Request-ID PSU-ID") }, "headers must be"},
		"other algorithm":         {func(r *http.Request) { set(r, "algorithm", "rsa-sha512") }, "algorithm must be"},
		"serial number":           {replace("Signature", "SN=1267", "SN=1268"), "SN is not"},
		"decimal number":          {replace("Signature", "SN=1267", "SN=4711"), "SN is not"},
		"number with prefix":      {replace("Signature", "SN=", "SN=0x"), "keyId must have"},
		"number with sign":        {replace("Signature", "SN=", "SN=+"), "keyId must have"},
		"no number":               {replace("Signature", "SN=1267,", ""), "keyId must have"},
		"no authority":            {replace("Signature", ",CA=CN=QTSP,C=DE", ""), "keyId must have"},
		"other authority":         {replace("Signature", "QTSP", "QTSQ"), "CA is not"},
		"authority cut":           {replace("Signature", ",C=DE", ""), "CA is not"},
		"authority in order":      {replace("Signature", "CN=QTSP,C=DE", "C=DE,CN=QTSP"), "CA is not"},
		"authority not encoded":   {replace("Signature", "CN=QTSP", "CN=QT%ZZSP"), "CA is not"},
		"authority without form":  {replace("Signature", "CN=QTSP", "QTSP"), "CA is not"},
		"authority not in DER":    {replace("Signature", "CN=QTSP", "2.5.4.3=#0c"), "CA is not"},
		"authority in two values": {replace("Signature", "CN=QTSP", "2.5.4.3=#0c04515453500c00"), "CA is not"},
		"authority not in hex":    {replace("Signature", "CN=QTSP", "2.5.4.3=#0cx"), "CA is not"},
		"authority joined":        {replace("Signature", "CN=QTSP,C", "CN=QTSP+C"), "CA is not"},
		"signature":               {replace("Signature", `signature="`, `signature="A`), "not base64"},
		"signature of bits":       {func(r *http.Request) { set(r, "signature", "QQ==") }, "does not match"},
		"loose base64":            {func(r *http.Request) { set(r, "signature", "QR==") }, "not base64"},
		"space":                   {replace("Signature", ",algorithm", ", algorithm"), "ill-formed"},
		"one more parameter":      {replace("Signature", ",headers", `,created="1",headers`), "ill-formed"},
		"a parameter less":        {replace("Signature", `,algorithm="rsa-sha256"`, ""), "ill-formed"},
		"no quotes":               {replace("Signature", `"rsa-sha256"`, "rsa-sha256"), "ill-formed"},
		"scheme before":           {replace("Signature", "keyId", "Signature keyId"), "ill-formed"},
		"nothing":                 {func(r *http.Request) { r.Header.Set("Signature", "") }, "ill-formed"},
	} {
		r, body := signedRequest(t, signer)
		if err := verify(r, body); err != nil {
			t.Fatal(err)
		}
		tt.change(r)
		if err := verify(r, body); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, body := signedRequest(t, signer)
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if verify(r, changed) == nil || verify(r, body[:i]) == nil {
			t.Errorf("a body with another byte %d, or without it", i)
		}
	}
	if verify(r, nil) == nil {
		t.Error("no body")
	}
}

// TestEachByte changes each byte of the signature, one at a time.
func TestEachByte(t *testing.T) {
	tpp := issue(t, qtsp, big.NewInt(4711), rsaKey())
	verify := aspspsim.SignatureVerifier(tpp.Leaf)
	r, body := signedRequest(t, newSigner(t, tpp.PEM, tpp.KeyPEM))
	header := r.Header.Get("Signature")
	for i := range header {
		changed := []byte(header)
		changed[i] ^= 1
		r.Header.Set("Signature", string(changed))
		if verify(r, body) == nil {
			t.Errorf("byte %d of %s: %s", i, header, changed)
		}
	}
}

// TestKeyID tests names of issuers and serial numbers.
func TestKeyID(t *testing.T) {
	utf8String := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)} }
	for name, tt := range map[string]struct {
		serial string
		issuer pkix.RDNSequence
		want   string
	}{
		"plain": {
			"9fa1",
			pkix.RDNSequence{{attribute("DE", 2, 5, 4, 6)}, {attribute("Trust GmbH", 2, 5, 4, 10)}, {attribute("CA 2-1 2015", 2, 5, 4, 3)}},
			"SN=9FA1,CA=CN=CA%202-1%202015,O=Trust%20GmbH,C=DE",
		},
		"country last": {"1", pkix.RDNSequence{{attribute("QTSP", 2, 5, 4, 3)}, {attribute("DE", 2, 5, 4, 6)}}, "SN=1,CA=C=DE,CN=QTSP"},
		"zero first":   {"0abc", qtsp, "SN=ABC,CA=CN=QTSP,C=DE"},
		"high bit":     {"ff", qtsp, "SN=FF,CA=CN=QTSP,C=DE"},
		"long":         {"7fffffffffffffffffffffffffffffffffffffff", qtsp, "SN=7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF,CA=CN=QTSP,C=DE"},
		"not ASCII": {
			"1",
			pkix.RDNSequence{{attribute("Zürich č 信", 2, 5, 4, 7)}},
			"SN=1,CA=L=Z%C3%BCrich%20%C4%8D%20%E4%BF%A1",
		},
		"special": {
			"1",
			pkix.RDNSequence{{attribute(`#a,b+c"d\e<f>g;h=i%j `, 2, 5, 4, 10)}},
			`SN=1,CA=O=%5C#a%5C,b%5C+c%5C%22d%5C%5Ce%5C<f%5C>g%5C;h=i%25j%5C%20`,
		},
		"control":    {"1", pkix.RDNSequence{{attribute("a\r\nb\x7f", 2, 5, 4, 10)}}, "SN=1,CA=O=a%0D%0Ab%7F"},
		"two in one": {"1", pkix.RDNSequence{{attribute("DE", 2, 5, 4, 6)}, {attribute("a", 2, 5, 4, 3), attribute("b", 2, 5, 4, 11)}}, "SN=1,CA=CN=a+OU=b,C=DE"},
		"organisation identifier": {
			"1",
			pkix.RDNSequence{{attribute(utf8String("VATDE-1"), 2, 5, 4, 97)}, {attribute("QTSP", 2, 5, 4, 3)}},
			"SN=1,CA=CN=QTSP,2.5.4.97=#0c0756415444452d31",
		},
		"organisation identifier, printable": {"1", pkix.RDNSequence{{attribute("VATDE-1", 2, 5, 4, 97)}}, "SN=1,CA=2.5.4.97=#130756415444452d31"},
	} {
		serial, _ := new(big.Int).SetString(tt.serial, 16)
		tpp := issue(t, tt.issuer, serial, rsaKey())
		r, body := signedRequest(t, newSigner(t, tpp.PEM, tpp.KeyPEM))
		got, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Signature"), `keyId="`), `"`)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if err := aspspsim.SignatureVerifier(tpp.Leaf)(r, body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFiles signs with keys in each form that PEM allows, and a certificate with its chain.
func TestFiles(t *testing.T) {
	tpp := issue(t, qtsp, big.NewInt(4711), rsaKey())
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	chain := tpp.PEM + certtest.CA(t, "QTSP").PEM
	for name, key := range map[string]string{"PKCS #8": tpp.KeyPEM, "PKCS #1": pkcs1, "text before": "Bag Attributes\n" + pkcs1} {
		s := newSigner(t, chain, key)
		r, body := signedRequest(t, s)
		if err := aspspsim.SignatureVerifier(tpp.Leaf)(r, body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.Certificates()) != 2 || !bytes.Equal(s.Certificates()[0], tpp.Leaf.Raw) {
			t.Errorf("%s: %d certificates", name, len(s.Certificates()))
		}
	}
}

func TestFaults(t *testing.T) {
	tpp, stranger := issue(t, qtsp, big.NewInt(1), rsaKey()), issue(t, qtsp, big.NewInt(1), otherKey())
	weak := issue(t, qtsp, big.NewInt(1), weakKey())
	elliptic256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := issue(t, qtsp, big.NewInt(1), elliptic256)
	encrypted := strings.ReplaceAll(tpp.KeyPEM, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
	const together = "is missing: certificate and key must be set together"
	for name, tt := range map[string]struct {
		certificate, key string // "" for a file that is not given
		want             config.Faults
	}{
		"none":             {"", "", nil},
		"valid":            {tpp.PEM, tpp.KeyPEM, nil},
		"no key":           {tpp.PEM, "", config.Faults{{Path: "signingKeyFile", Detail: together}}},
		"no certificate":   {"", tpp.KeyPEM, config.Faults{{Path: "signingCertificateFile", Detail: together}}},
		"exchanged":        {tpp.KeyPEM, tpp.PEM, noPEM},
		"no PEM":           {"Rosebud-4711", "Rosebud-4711", noPEM},
		"encrypted":        {tpp.PEM, encrypted, noPEM[1:]},
		"key of another":   {tpp.PEM, stranger.KeyPEM, config.Faults{{Path: "signingKeyFile", Detail: "must be the private key of signingCertificateFile"}}},
		"elliptic curve":   {curve.PEM, curve.KeyPEM, config.Faults{{Path: "signingKeyFile", Detail: "must be an RSA key"}}},
		"short":            {weak.PEM, weak.KeyPEM, config.Faults{{Path: "signingKeyFile", Detail: "must be an RSA key of at least 2048 bits"}}},
		"authority before": {certtest.CA(t, "QTSP").PEM + tpp.PEM, tpp.KeyPEM, config.Faults{{Path: "signingKeyFile", Detail: "must be the private key of signingCertificateFile"}}},
	} {
		file := func(content string) config.File {
			if content == "" {
				return config.File{}
			}
			return config.InMemoryFile([]byte(content))
		}
		var faults config.Faults
		s := httpsig.New(file(tt.certificate), file(tt.key), &faults)
		if diff := cmp.Diff(tt.want, faults); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if (s != nil) != (name == "valid") {
			t.Errorf("%s: signer %t", name, s != nil)
		}
	}
	known := config.Faults{{Path: "signingKeyFile", Detail: "cannot be read"}}
	if httpsig.New(config.InMemoryFile([]byte(tpp.PEM)), config.File{}, &known); len(known) != 1 {
		t.Errorf("a file that cannot be read is reported again: %v", known)
	}
}

var noPEM = config.Faults{
	{Path: "signingCertificateFile", Detail: "file must contain a PEM certificate"},
	{Path: "signingKeyFile", Detail: "file must contain an unencrypted private key in PEM"},
}

// TestNoSigner tests a nil signer, which signs nothing, and a request without an id.
func TestNoSigner(t *testing.T) {
	var none *httpsig.Signer
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if err := none.Sign(r, nil); err != nil || len(r.Header) > 0 || none.Certificates() != nil {
		t.Error(err, r.Header, none.Certificates())
	}
	tpp := issue(t, qtsp, big.NewInt(1), rsaKey())
	if err := newSigner(t, tpp.PEM, tpp.KeyPEM).Sign(r, nil); err == nil || len(r.Header) > 0 {
		t.Error("a request without an id is signed", r.Header)
	}
}

// TestKeyIsNotPrinted prints a signer in every way that a log could.
func TestKeyIsNotPrinted(t *testing.T) {
	tpp := issue(t, qtsp, big.NewInt(1), rsaKey())
	s := newSigner(t, tpp.PEM, tpp.KeyPEM)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		text := fmt.Sprintf(format, s)
		for _, secret := range []*big.Int{rsaKey().D, rsaKey().Primes[0]} {
			if strings.Contains(text, secret.String()) || strings.Contains(text, secret.Text(16)) {
				t.Errorf("%s prints the key", format)
			}
		}
	}
}

func TestConcurrently(t *testing.T) {
	tpp := issue(t, qtsp, big.NewInt(1), rsaKey())
	signer, verify := newSigner(t, tpp.PEM, tpp.KeyPEM), aspspsim.SignatureVerifier(tpp.Leaf)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			body := fmt.Appendf(nil, "body %d", i)
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("X-Request-ID", fmt.Sprint(i))
			if err := signer.Sign(r, body); err != nil {
				t.Error(err)
			}
			if err := verify(r, body); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// FuzzSignature reads a header Signature. What is accepted differs from the signer's at most in how
// keyId is written.
func FuzzSignature(f *testing.F) {
	tpp := issue(f, pkix.RDNSequence{{attribute("DE", 2, 5, 4, 6)}, {attribute(`Süd, "A"`, 2, 5, 4, 10)}}, big.NewInt(0x9FA1), rsaKey())
	verify := aspspsim.SignatureVerifier(tpp.Leaf)
	r, body := signedRequest(f, newSigner(f, tpp.PEM, tpp.KeyPEM))
	valid := r.Header.Get("Signature")
	_, rest, _ := strings.Cut(valid, `",`)
	f.Add(valid)
	f.Add(strings.Replace(valid, "SN=9FA1", "SN=00009fa1", 1))
	f.Add(`keyId="SN=9FA1,CA=2.5.4.10=#0c0553c3bc6464,C=DE",` + rest)
	f.Add(`keyId="SN=9FA1,CA=O=S\",` + rest)
	f.Add(`keyId="SN=9FA1,CA=O=%5C",` + rest)
	f.Add(`keyId="SN=,CA=",algorithm="",headers="",signature=""`)
	f.Add(`keyId="",keyId="",headers="digest",signature="`)
	f.Fuzz(func(t *testing.T, header string) {
		r := r.Clone(t.Context())
		r.Header.Set("Signature", textproto.TrimString(header))
		if err := verify(r, body); err == nil && !strings.HasSuffix(header, rest) {
			t.Errorf("accepted: %q", header)
		}
	})
}
