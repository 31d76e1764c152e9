package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"software.sslmate.com/src/go-pkcs12"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// metric is a series as a gateway's /metrics has it, by its name and labels in their order; -1 where there is none.
func (p *process) series(t *testing.T, series string) float64 {
	t.Helper()
	_, text := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return -1
}

// becomes waits until a series is so.
func (p *process) becomes(t *testing.T, series string, want float64) {
	t.Helper()
	patiently(t, series+" is "+strconv.FormatFloat(want, 'f', -1, 64), func() bool { return p.series(t, series) == want })
}

func unitsOf(state string) string {
	return `ais_unattended_units{ais_aspsp_id="` + mastercardsim.WoodBank + `",state="` + state + `"}`
}

// All gateways say the same of units, whichever made the calls, and one that is started anew too. While Redis says nothing,
// nothing is said.
func TestFleetIsTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	a, b := serve(t, w.ConfigFile), serve(t, w.ConfigFile)
	a.becomes(t, "ais_redis_usable", 1)
	a.becomes(t, "ais_redis_evicts", 0)
	reads := func(p *process, slot string) float64 {
		return p.series(t, `ais_unattended_reads_total{ais_aspsp_id="`+mastercardsim.WoodBank+`",slot="`+slot+`"}`)
	}
	if reads(a, "taken") != 0 || reads(a, "none") != 0 || reads(a, "refused") != 0 {
		t.Error("reads do not begin at 0")
	}
	read := func(p *process, consent string, want int, header ...string) {
		t.Helper()
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+wood+"/accounts", append(header, "Consent-ID", consent)...)
		if resp.StatusCode != want {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	first, second := mastercardsim.FreshConsent+"first", mastercardsim.FreshConsent+"second"
	for i := range 4 {
		read([]*process{a, b}[i%2], first, http.StatusOK, "Cache-Control", "no-cache")
	}
	read(a, first, http.StatusOK)
	for range 3 {
		read(b, second, http.StatusOK, "Cache-Control", "no-cache")
	}
	read(b, second, http.StatusOK, "PSU-IP-Address", "203.0.113.9")
	time.Sleep(1100 * time.Millisecond) // a list that is a second old
	read(a, first, http.StatusOK, "Cache-Control", "max-age=1")
	for _, p := range []*process{a, b} {
		p.becomes(t, unitsOf("used_up"), 1)
		p.becomes(t, unitsOf("last"), 1)
		p.becomes(t, unitsOf("closed"), 0)
	}
	for _, tt := range []struct {
		p                    *process
		taken, none, refused float64
	}{{a, 2, 1, 1}, {b, 5, 0, 0}} {
		if taken, none, refused := reads(tt.p, "taken"), reads(tt.p, "none"), reads(tt.p, "refused"); taken != tt.taken || none != tt.none || refused != tt.refused {
			t.Errorf("reads with slots %v, without %v, refused %v, want %v, %v and %v", taken, none, refused, tt.taken, tt.none, tt.refused)
		}
	}
	read(a, second, http.StatusOK, "Cache-Control", "no-cache")
	a.Terminate() // with that one perhaps not yet told
	if code := a.Wait(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	c := serve(t, w.ConfigFile)
	for _, p := range []*process{b, c} {
		p.becomes(t, unitsOf("used_up"), 2)
		p.becomes(t, unitsOf("last"), 0)
	}
	server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	b.becomes(t, "ais_redis_evicts", 1)
	server.Pause()
	b.becomes(t, "ais_redis_usable", 0)
	b.becomes(t, unitsOf("used_up"), -1)
	server.Resume()
	b.becomes(t, "ais_redis_usable", 1)
	b.becomes(t, unitsOf("used_up"), 2)
	commandsAreNamed(t, b)
}

// commandsAreNamed fails the test where the gateway sent a command that its list does not have, or did not tell of silence.
func commandsAreNamed(t *testing.T, p *process) {
	t.Helper()
	_, text := gatewaytest.Call(t, http.MethodGet, p.Admin+"/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range families["db_client_operation_duration_seconds"].GetMetric() {
		for _, l := range m.GetLabel() {
			seen[l.GetName()+"="+l.GetValue()] = true
		}
	}
	for _, want := range []string{"db_system_name=redis", "db_operation_name=EVALSHA", "db_operation_name=PIPELINE", "error_type=timeout"} {
		if !seen[want] {
			t.Errorf("%s is not told: %v", want, seen)
		}
	}
	for _, never := range []string{"db_operation_name=_OTHER", "error_type=_OTHER"} {
		if seen[never] {
			t.Errorf("%s is told", never)
		}
	}
}

// ending is a certificate that its authority stands behind, both valid until then, and its key, as PEM.
func ending(t *testing.T, leaf, authority time.Time) (chain, key string) {
	t.Helper()
	pairs := make([]*ecdsa.PrivateKey, 2)
	templates := make([]*x509.Certificate, 2)
	for i, end := range []time.Time{leaf, authority} {
		var err error
		if pairs[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		templates[i] = &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: strconv.Itoa(i)}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: end, IsCA: i == 1, BasicConstraintsValid: true,
		}
	}
	for i := range pairs {
		der, err := x509.CreateCertificate(rand.Reader, templates[i], templates[1], pairs[i].Public(), pairs[1])
		if err != nil {
			t.Fatal(err)
		}
		chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(pairs[0])
	if err != nil {
		t.Fatal(err)
	}
	return chain, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// container is a signing key with its certificate and an authority's, as PKCS#12.
func container(t *testing.T, own, authority time.Time) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certificates := make([]*x509.Certificate, 2)
	for i, end := range []time.Time{own, authority} {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if certificates[i], err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	content, err := pkcs12.Modern.Encode(key, certificates[0], certificates[1:], "")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The end that comes first is told, of every certificate that is in use, and after a renewal the new one's.
func TestCertificatesEnds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := func(n int) time.Time { return now.Add(time.Duration(n) * 24 * time.Hour).Truncate(time.Second) }
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	plain := serve(t, w.ConfigFile)
	for _, part := range []string{"mastercard", "mypos", "server_tls"} {
		if n := plain.series(t, `ais_certificate_not_after_seconds{part="`+part+`"}`); n != -1 {
			t.Errorf("%s has no certificate, which ends at %v", part, n)
		}
	}
	server, serverKey := ending(t, day(40), day(20))
	client, clientKey := ending(t, day(10), day(50))
	file, secrets := onVolume(t, w, map[string]string{
		"tls.crt": server, "tls.key": serverKey, "qwac.crt": client, "qwac.key": clientKey, "signing-key.pem": container(t, day(60), day(30)),
	})
	text := contentsOf(t, file)
	text = strings.Replace(text, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, ", 1)
	text = strings.Replace(text, "mypos: {", "mypos: {clientCertificateFile: '"+secrets.path("qwac.crt")+"', clientKeyFile: '"+secrets.path("qwac.key")+"', ", 1)
	file = filepath.Join(t.TempDir(), "gateway.yaml")
	write(t, file, text)
	p := serve(t, file)
	ends := func(part string, end time.Time) {
		t.Helper()
		p.becomes(t, `ais_certificate_not_after_seconds{part="`+part+`"}`, float64(end.Unix()))
	}
	ends("server_tls", day(20))
	ends("mypos", day(10))
	ends("mastercard", day(30))
	server, serverKey = ending(t, day(70), day(80))
	client, clientKey = ending(t, day(100), day(90))
	secrets.swap(map[string]string{
		"tls.crt": server, "tls.key": serverKey, "qwac.crt": client, "qwac.key": clientKey, "signing-key.pem": container(t, day(110), day(120)),
	})
	ends("server_tls", day(70))
	ends("mypos", day(90))
	ends("mastercard", day(110))
	pemKey, _ := signing(t)
	first, _ := ending(t, day(130), day(140))
	secrets.swap(map[string]string{"signing-key.pem": first + pemKey, "tls.crt": "broken"})
	ends("mastercard", day(130))
	ends("server_tls", day(70)) // which stays in use
	secrets.swap(map[string]string{"signing-key.pem": pemKey})
	p.becomes(t, `ais_certificate_not_after_seconds{part="mastercard"}`, -1)
}

func contentsOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
