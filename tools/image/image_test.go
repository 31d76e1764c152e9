package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// maxSize is the maximum size of an unpacked image in bytes: nodes pull it while callers wait.
const maxSize = 40_000_000

// entries returns the names of a layer's entries with their modes, and their contents by name.
func entries(t *testing.T, l v1.Layer) (names []string, files map[string][]byte) {
	t.Helper()
	content, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	files = map[string][]byte{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s has the owner %d:%d and the time %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		names = append(names, fmt.Sprintf("%s %o", h.Name, h.Mode))
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLayers: the image has two layers with exactly the expected files, and is below the maximum
// size.
func TestLayers(t *testing.T) {
	img := only(t, image(t)+".tar")
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	names, files := entries(t, layers[0])
	if want := []string{
		"etc/ 755", "etc/group 644", "etc/passwd 644", "etc/ssl/ 755", "etc/ssl/certs/ 755",
		"etc/ssl/certs/ca-certificates.crt 644", "tmp/ 1777",
	}; !slices.Equal(names, want) {
		t.Errorf("the first layer has %q", names)
	}
	if !strings.Contains(string(files["etc/passwd"]), ":65532:65532:") || !strings.Contains(string(files["etc/group"]), ":65532:") {
		t.Errorf("there is no user 65532:\n%s%s", files["etc/passwd"], files["etc/group"])
	}
	names, files = entries(t, layers[1])
	if want := []string{"usr/ 755", "usr/local/ 755", "usr/local/bin/ 755", "usr/local/bin/gateway 755"}; !slices.Equal(names, want) {
		t.Errorf("the second layer has %q", names)
	}
	built, err := os.ReadFile(builtBinary(t))
	if err != nil || !bytes.Equal(files["usr/local/bin/gateway"], built) {
		t.Errorf("the binary differs from that of `make build`: %v", err)
	}
	packed, whole, err := size(img)
	if err != nil || packed == 0 || packed >= whole || whole >= maxSize {
		t.Errorf("%d bytes in the layers, %d packed, %v; at most %d", whole, packed, err, maxSize)
	}
	t.Logf("%d bytes in the layers, %d packed", whole, packed)
}

// TestConfig: the image's configuration has the expected user, entrypoint, ports, labels and
// platform.
func TestConfig(t *testing.T) {
	file, err := only(t, image(t)+".tar").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	if c.User != "65532:65532" || c.WorkingDir != "/" || !slices.Equal(c.Entrypoint, []string{"/usr/local/bin/gateway"}) || c.Cmd != nil {
		t.Errorf("the configuration is %+v", c)
	}
	if ports := slices.Sorted(maps.Keys(c.ExposedPorts)); !slices.Equal(ports, []string{"8080/tcp", "9090/tcp"}) {
		t.Errorf("the ports are %q", ports)
	}
	for key, want := range map[string]string{"title": "ais-gateway", "version": tested, "licenses": "Apache-2.0"} {
		if got := c.Labels["org.opencontainers.image."+key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if file.OS != "linux" || file.Architecture != runtime.GOARCH {
		t.Errorf("the platform is %s/%s", file.OS, file.Architecture)
	}
}

// TestDockerLoad: `docker load` reads the same image from the archive as readers of OCI layouts.
func TestDockerLoad(t *testing.T) {
	archive := image(t) + ".tar"
	loaded, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(loaded); err != nil {
		t.Error(err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err != nil || len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{"ais-gateway:" + testedTag}) {
		t.Errorf("the manifest for Docker is %v, %v", manifest, err)
	}
	one, err1 := loaded.ConfigName()
	other, err2 := only(t, archive).ConfigName()
	if one != other || err1 != nil || err2 != nil {
		t.Errorf("the configuration for Docker is %v, want %v; %v, %v", one, other, err1, err2)
	}
	index, err := opened(t, archive).IndexManifest()
	if err != nil || index.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != testedTag {
		t.Errorf("the index is %v, %v", index, err)
	}
}

// TestImageIsReproducible: images and SBOMs that are made in different directories and at different
// times are the same, byte for byte.
func TestImageIsReproducible(t *testing.T) {
	program := []byte(read(t, tiny(t, runtime.GOARCH, "-trimpath")))
	var archives, sboms [2]string
	for i := range 2 {
		dir := t.TempDir()
		copied := filepath.Join(dir, strings.Repeat("deep/", i)+"gateway")
		if err := errors.Join(os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, program, 0o700+os.FileMode(i)*0o55)); err != nil {
			t.Fatal(err)
		}
		o := order{
			version: "1", revision: "abc", created: time.Unix(1700000000, 0).UTC(), binaries: []string{copied},
			archive: filepath.Join(dir, "image.tar"), sbom: filepath.Join(dir, "sbom.json"),
		}
		if err := run(o, io.Discard); err != nil {
			t.Fatal(err)
		}
		archives[i], sboms[i] = read(t, o.archive), read(t, o.sbom)
		time.Sleep(1100 * time.Millisecond) // archive formats store seconds
	}
	if archives[0] != archives[1] {
		t.Error("the images differ")
	}
	if sboms[0] != sboms[1] {
		t.Error("the SBOMs differ")
	}
}

// read returns the content of a file.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tiny builds a program for Linux that does nothing, and returns its path.
func tiny(t *testing.T, arch string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module tiny\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", append([]string{"build", "-o", "tiny"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "tiny")
}

// TestPlatforms: two binaries for different platforms become one multi-platform image.
func TestPlatforms(t *testing.T) {
	dir := t.TempDir()
	o := order{version: "1", archive: dir + "/image.tar", sbom: dir + "/sbom.json"}
	for _, arch := range []string{"amd64", "arm64"} {
		o.binaries = append(o.binaries, tiny(t, arch, "-trimpath"))
	}
	if err := run(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	outer, err := opened(t, o.archive).IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("%v, %v", outer, err)
	}
	index, err := opened(t, o.archive).ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64/v8"}) {
		t.Errorf("the platforms are %q", platforms)
	}
}

// TestOpenRejects: open returns an error for a binary that would not run in the image or that is
// not reproducible.
func TestOpenRejects(t *testing.T) {
	good := read(t, tiny(t, runtime.GOARCH, "-trimpath"))
	with := func(old, changed string) string { return strings.ReplaceAll(good, old, changed) }
	// Change the type of the first program header to that of an interpreter.
	loaded := []byte(good)
	binary.LittleEndian.PutUint32(loaded[binary.LittleEndian.Uint64(loaded[32:]):], uint32(elf.PT_INTERP))
	for name, tt := range map[string]struct{ content, wantErr string }{
		"not a program":      {"#!/bin/sh\n", "could not read Go build info"},
		"with local paths":   {read(t, tiny(t, runtime.GOARCH)), "-trimpath="},
		"for another system": {with("GOOS=linux", "GOOS=plan9"), "GOOS=plan9"},
		"with cgo":           {with("CGO_ENABLED=0", "CGO_ENABLED=1"), "CGO_ENABLED=1"},
		"linked dynamically": {string(loaded), "is linked dynamically"},
		"correct":            {good, ""},
	} {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(path); (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := run(order{}, io.Discard); err == nil {
		t.Error("run accepts an order without binaries")
	}
}

// TestRoots: all certificates are certificate authorities, and those that Mozilla trusts under a
// condition are left out.
func TestRoots(t *testing.T) {
	trusted := map[string]bool{}
	for rest := roots(); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !c.IsCA {
			t.Errorf("%v is not a certificate authority: %v", c, err)
		}
		trusted[string(block.Bytes)] = true
	}
	var conditions int
	for r := range bundle.Roots() {
		if trusted[string(r.Certificate)] != (r.Constraint == nil) {
			t.Errorf("a certificate authority with conditions (%v) is included: %v", r.Constraint != nil, trusted[string(r.Certificate)])
		}
		if r.Constraint != nil {
			conditions++
		}
	}
	if len(trusted) < 100 || !x509.NewCertPool().AppendCertsFromPEM(roots()) {
		t.Errorf("only %d certificate authorities", len(trusted))
	}
	t.Logf("%d certificate authorities, %d left out", len(trusted), conditions)
}
