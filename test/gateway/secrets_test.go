package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

// A volume is a directory of secrets as the kubelet mounts it (kubernetes/pkg/volume/util/atomic_writer.go): each file is a
// link through ..data to a directory that is named after the time.
type volume struct {
	t     *testing.T
	dir   string
	files map[string]string
	n     int
}

func mounted(t *testing.T, files map[string]string) *volume {
	t.Helper()
	v := &volume{t: t, dir: t.TempDir(), files: map[string]string{}}
	v.swap(files)
	for name := range files {
		v.must(os.Symlink(filepath.Join("..data", name), v.path(name)))
	}
	return v
}

func (v *volume) path(name string) string { return filepath.Join(v.dir, name) }

func (v *volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// swap changes files all at once, by the renaming of one link, and removes the old ones.
func (v *volume) swap(files map[string]string) {
	v.t.Helper()
	for name, content := range files {
		v.files[name] = content
	}
	old, _ := os.Readlink(v.path("..data"))
	v.n++
	now := fmt.Sprintf("..2026_11_20_10_00_00.%09d", v.n)
	v.must(os.Mkdir(v.path(now), 0o700))
	for name, content := range v.files {
		write(v.t, filepath.Join(v.path(now), name), content)
	}
	v.must(os.Symlink(now, v.path("..data_tmp")))
	v.must(os.Rename(v.path("..data_tmp"), v.path("..data")))
	if old != "" {
		v.must(os.RemoveAll(v.path(old)))
	}
}

// replaced changes one file as an editor does, by renaming another.
func replaced(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+"~", content)
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// contents is what stands in a file of the sandbox's.
func contents(t *testing.T, w *sandbox.Sandbox, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.ConfigFile), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// onVolume is the world's configuration with its secrets on a volume, which has more files besides.
func onVolume(t *testing.T, w *sandbox.Sandbox, more map[string]string, oldnew ...string) (string, *volume) {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"signing-key.pem", "mypos-key", "cache-key"} {
		files[name] = contents(t, w, name)
	}
	for name, content := range more {
		files[name] = content
	}
	v := mounted(t, files)
	return gatewaytest.ReplaceInConfig(t, w, append([]string{
		filepath.Dir(w.ConfigFile) + "/signing-key.pem", v.path("signing-key.pem"),
		filepath.Dir(w.ConfigFile) + "/mypos-key", v.path("mypos-key"),
		filepath.Dir(w.ConfigFile) + "/cache-key", v.path("cache-key"),
	}, oldnew...)...), v
}

// patiently waits for what takes a look or two of the gateway's, however busy the machine is.
func patiently(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

const (
	renewed = "secrets reloaded"
	stale   = "secret reload failed, still using the previous secret"
)

// lines are those of the log with a message, about a part of the secrets ("" for any line).
func (p *process) lines(msg, part string) []string {
	var all []string
	for line := range strings.Lines(p.Stdout.String()) {
		var l struct{ Msg, Part string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg && l.Part == part {
			all = append(all, line)
		}
	}
	return all
}

// awaits waits for the nth line of the log with a message about a part.
func (p *process) awaits(msg, part string, n int) {
	p.T.Helper()
	patiently(p.T, fmt.Sprintf("%q was logged %d times of %s", msg, n, part), func() bool { return len(p.lines(msg, part)) >= n })
}

// steadily makes calls one after the other, each of a kind at once, until stopped; every one must be answered 200. It
// returns once some were answered, and stop waits for some more.
func steadily(t *testing.T, client *http.Client, requests ...*http.Request) (stop func()) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var n atomic.Int64
	for _, r := range requests {
		running.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
				status, body := do(client, r)
				if n.Add(1); status != http.StatusOK {
					t.Errorf("%s: %d %s", r.URL.Path, status, body)
					return
				}
			}
		})
	}
	goesOn := func() {
		most := n.Load() + 5
		gatewaytest.Eventually(t, "requests go on", func() bool { return n.Load() >= most || t.Failed() })
	}
	goesOn()
	t.Cleanup(func() { end(); running.Wait() })
	return func() { goesOn(); end(); running.Wait() }
}

// ask makes a request once more, and returns status and body; 0 where there is no answer.
func do(client *http.Client, r *http.Request) (int, string) {
	resp, err := client.Do(r.Clone(context.Background()))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// request is a caller's, with the sandbox's key and for a user who asks.
func request(t *testing.T, url string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	header = append([]string{"X-API-Key", sandbox.Key, "PSU-IP-Address", "203.0.113.7", "Cache-Control", "no-cache"}, header...)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// either answers as the first of two simulators does, or where that refuses as the second, whose successes it counts.
type either struct {
	first, second http.Handler
	seconds, all  atomic.Int64
}

func (e *either) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	send := func(to http.Handler) *httptest.ResponseRecorder {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		to.ServeHTTP(answer, again)
		return answer
	}
	answer := send(e.first)
	e.all.Add(1)
	if answer.Code != http.StatusOK {
		if answer = send(e.second); answer.Code == http.StatusOK {
			e.seconds.Add(1)
		}
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// An authority vouches for certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func founded(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key, a.pem = a.sign(template)
	return a
}

// sign makes a certificate for a new key; the authority's own before there is one.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue makes a certificate for 127.0.0.1 and for clients, and its key, both as PEM.
func (a *authority) issue(name string) (certificate, key string) {
	a.t.Helper()
	_, private, certificate := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// pair is issue, for crypto/tls.
func (a *authority) pair(name string) tls.Certificate {
	a.t.Helper()
	certificate, key := a.issue(name)
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}
