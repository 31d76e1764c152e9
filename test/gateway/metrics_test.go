package gateway_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
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

	"ais-gateway/internal/certtest"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

// series returns the value of a series in the gateway's /metrics, or -1 if there is none. series is
// the name with the labels, in the order of /metrics.
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

// waitForSeries waits until a series has a value.
func (p *process) waitForSeries(t *testing.T, series string, want float64) {
	t.Helper()
	waitFor(t, series+" is "+strconv.FormatFloat(want, 'f', -1, 64), func() bool { return p.series(t, series) == want })
}

// unitsSeries returns the name of the series that counts units of Wood Bank in a state.
func unitsSeries(state string) string {
	return `ais_unattended_units{ais_aspsp_id="` + mastercardsim.WoodBank + `",state="` + state + `"}`
}

// TestFleetMetrics: all gateways export the same counts of units, independent of which gateway made
// the calls, and so does a gateway that starts later. While Redis does not respond, the series are
// absent.
func TestFleetMetrics(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := gatewaytest.NewSandboxOn(t, server, sandbox.Options{})
	a, b := serve(t, w.ConfigFile), serve(t, w.ConfigFile)
	a.waitForSeries(t, "ais_redis_usable", 1)
	a.waitForSeries(t, "ais_redis_evicts", 0)
	reads := func(p *process, slot string) float64 {
		return p.series(t, `ais_unattended_reads_total{ais_aspsp_id="`+mastercardsim.WoodBank+`",slot="`+slot+`"}`)
	}
	if reads(a, "taken") != 0 || reads(a, "none") != 0 || reads(a, "refused") != 0 {
		t.Error("the counters of reads do not start at 0")
	}
	read := func(p *process, consent string, want int, header ...string) {
		t.Helper()
		resp, body := gatewaytest.Call(t, http.MethodGet, p.API+woodPath+"/accounts", append(header, "Consent-ID", consent)...)
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
		p.waitForSeries(t, unitsSeries("used_up"), 1)
		p.waitForSeries(t, unitsSeries("last"), 1)
		p.waitForSeries(t, unitsSeries("closed"), 0)
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
	a.Terminate() // perhaps before its metrics include that read
	if code := a.Wait(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	c := serve(t, w.ConfigFile)
	for _, p := range []*process{b, c} {
		p.waitForSeries(t, unitsSeries("used_up"), 2)
		p.waitForSeries(t, unitsSeries("last"), 0)
	}
	server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	b.waitForSeries(t, "ais_redis_evicts", 1)
	server.Pause()
	b.waitForSeries(t, "ais_redis_usable", 0)
	b.waitForSeries(t, unitsSeries("used_up"), -1)
	server.Resume()
	b.waitForSeries(t, "ais_redis_usable", 1)
	b.waitForSeries(t, unitsSeries("used_up"), 2)
	assertRedisMetrics(t, b)
}

// assertRedisMetrics checks that the metrics of Redis commands name each command and have the
// timeout, without the value _OTHER.
func assertRedisMetrics(t *testing.T, p *process) {
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
			t.Errorf("the metrics do not have %s: %v", want, seen)
		}
	}
	for _, unwanted := range []string{"db_operation_name=_OTHER", "error_type=_OTHER"} {
		if seen[unwanted] {
			t.Errorf("the metrics have %s", unwanted)
		}
	}
}

// newChain returns a certificate and that of its authority, which expire at the given times, and
// the certificate's key, as PEM.
func newChain(t *testing.T, leaf, authority time.Time) (chain, key string) {
	t.Helper()
	ca := certtest.New(t, x509.Certificate{NotAfter: authority, BasicConstraintsValid: true, IsCA: true}, nil, nil)
	own := certtest.New(t, x509.Certificate{NotAfter: leaf}, ca, nil)
	return own.PEM + ca.PEM, own.KeyPEM
}

// newPKCS12 returns a signing key with a certificate and that of an authority, which expire at the
// given times, as PKCS#12.
func newPKCS12(t *testing.T, own, authority time.Time) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca := certtest.New(t, x509.Certificate{NotAfter: authority}, nil, key)
	content, err := pkcs12.Modern.Encode(key, certtest.New(t, x509.Certificate{NotAfter: own}, nil, key).Leaf, []*x509.Certificate{ca.Leaf}, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestCertificateExpiryMetric: the metric has the earliest expiry of each chain in use, and after a
// reload that of the new chain.
func TestCertificateExpiryMetric(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := func(n int) time.Time { return now.Add(time.Duration(n) * 24 * time.Hour).Truncate(time.Second) }
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	plain := serve(t, w.ConfigFile)
	for _, part := range []string{"mastercard", "mypos", "server_tls"} {
		if n := plain.series(t, `ais_certificate_not_after_seconds{part="`+part+`"}`); n != -1 {
			t.Errorf("%s has no certificate, but the metric is %v", part, n)
		}
	}
	server, serverKey := newChain(t, day(40), day(20))
	client, clientKey := newChain(t, day(10), day(50))
	file, secrets := withSecretVolume(t, w, map[string]string{
		"tls.crt": server, "tls.key": serverKey, "qwac.crt": client, "qwac.key": clientKey, "signing-key.pem": newPKCS12(t, day(60), day(30)),
	})
	text := readFile(t, file)
	text = strings.Replace(text, "server: {", "server: {tls: {certificateFile: '"+secrets.path("tls.crt")+"', keyFile: '"+secrets.path("tls.key")+"'}, ", 1)
	text = strings.Replace(text, "mypos: {", "mypos: {clientCertificateFile: '"+secrets.path("qwac.crt")+"', clientKeyFile: '"+secrets.path("qwac.key")+"', ", 1)
	file = filepath.Join(t.TempDir(), "gateway.yaml")
	writeFile(t, file, text)
	p := serve(t, file)
	waitForExpiry := func(part string, end time.Time) {
		t.Helper()
		p.waitForSeries(t, `ais_certificate_not_after_seconds{part="`+part+`"}`, float64(end.Unix()))
	}
	waitForExpiry("server_tls", day(20))
	waitForExpiry("mypos", day(10))
	waitForExpiry("mastercard", day(30))
	server, serverKey = newChain(t, day(70), day(80))
	client, clientKey = newChain(t, day(100), day(90))
	secrets.swap(map[string]string{
		"tls.crt": server, "tls.key": serverKey, "qwac.crt": client, "qwac.key": clientKey, "signing-key.pem": newPKCS12(t, day(110), day(120)),
	})
	waitForExpiry("server_tls", day(70))
	waitForExpiry("mypos", day(90))
	waitForExpiry("mastercard", day(110))
	pemKey, _ := newSigningKey(t)
	first, _ := newChain(t, day(130), day(140))
	secrets.swap(map[string]string{"signing-key.pem": first + pemKey, "tls.crt": "broken"})
	waitForExpiry("mastercard", day(130))
	waitForExpiry("server_tls", day(70)) // because the new certificate is invalid
	secrets.swap(map[string]string{"signing-key.pem": pemKey})
	p.waitForSeries(t, `ais_certificate_not_after_seconds{part="mastercard"}`, -1)
}

// readFile returns the contents of a file.
func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
