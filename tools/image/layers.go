package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	// Where the binary lies, as in deploy/Dockerfile, and one of the places where Go looks for authorities.
	entrypoint = "/usr/local/bin/gateway"
	rootsFile  = "etc/ssl/certs/ca-certificates.crt"
	// Whom it runs as, by number: Kubernetes does not believe a name not to be root.
	uid = 65532
)

const (
	passwd = `root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
`
	group = `root:x:0:
nonroot:x:65532:
`
)

// base is the layer below the binary: what a static program looks for in a system, and nothing that can be run. It is
// the same for every platform and version.
func base() (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, entry := range []struct {
		name, content string
		mode          int64
	}{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", content: group, mode: 0o644},
		{name: "etc/passwd", content: passwd, mode: 0o644},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: rootsFile, content: roots(), mode: 0o644},
		{name: "tmp/", mode: 0o1777},
	} {
		if err := add(w, entry.name, entry.mode, int64(len(entry.content)), bytes.NewReader([]byte(entry.content))); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return layer(b.Bytes())
}

// top is the layer with the binary.
func top(p program) (v1.Layer, error) {
	file, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"usr/", "usr/local/", "usr/local/bin/"} {
		if err := add(w, dir, 0o755, 0, nil); err != nil {
			return nil, err
		}
	}
	if err := add(w, entrypoint[1:], 0o755, info.Size(), file); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return layer(b.Bytes())
}

// add writes an entry that is root's and of no time. A name that ends with a slash is a directory's.
func add(w *tar.Writer, name string, mode, size int64, content io.Reader) error {
	h := &tar.Header{Name: name, Mode: mode, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if name[len(name)-1] == '/' {
		h.Typeflag = tar.TypeDir
		return w.WriteHeader(h)
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.Copy(w, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func layer(content []byte) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

// roots are the authorities that Mozilla trusts, as Go's own module has them: none is taken from the machine that
// builds. One that Mozilla trusts up to a date only is left out, since a file cannot say that.
func roots() string {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		fmt.Fprintf(&b, "# SHA-256 %x\n", sha256.Sum256(root.Certificate))
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return b.String()
}
