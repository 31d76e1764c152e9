package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	title       = "ais-gateway"
	description = "One REST API for the account information of many banks (PSD2, AIS)"

	entrypoint = "/usr/local/bin/gateway"            // as in deploy/Dockerfile
	rootsFile  = "etc/ssl/certs/ca-certificates.crt" // where Go looks for authorities on Linux
	uid        = 65532                               // a number: Kubernetes does not accept a name as not root
	passwd     = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
	group      = "root:x:0:\nnonroot:x:65532:\n"
)

// A program is a binary of the gateway, with what Go recorded in it about its build.
type program struct {
	path string
	info *buildinfo.BuildInfo
	set  map[string]string // the settings of the build
}

// open reads a binary. It returns an error if the binary was not built as by `make build`, or if it
// needs more than the image contains.
func open(path string) (program, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, err
	}
	p := program{path: path, info: info, set: map[string]string{}}
	for _, s := range info.Settings {
		p.set[s.Key] = s.Value
	}
	for _, must := range [][2]string{{"GOOS", "linux"}, {"CGO_ENABLED", "0"}, {"-trimpath", "true"}} {
		if p.set[must[0]] != must[1] {
			return program{}, fmt.Errorf("%s was built with %s=%s, and not %s", path, must[0], p.set[must[0]], must[1])
		}
	}
	file, err := elf.Open(path)
	if err != nil {
		return program{}, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return program{}, fmt.Errorf("%s is linked dynamically", path)
		}
	}
	return p, nil
}

// image returns the image of a program. It has two layers: one with the files that a static binary
// needs and without any program, which is the same for every platform and version, and one with the
// binary.
func (o order) image(p program) (v1.Image, error) {
	binary, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: o.created}
	below, err := layer("make image: authorities, users, /tmp", created,
		entry{"etc/", 0o755, nil}, entry{"etc/group", 0o644, []byte(group)}, entry{"etc/passwd", 0o644, []byte(passwd)},
		entry{"etc/ssl/", 0o755, nil}, entry{"etc/ssl/certs/", 0o755, nil}, entry{rootsFile, 0o644, roots()}, entry{"tmp/", 0o1777, nil})
	if err != nil {
		return nil, err
	}
	above, err := layer("make image: "+entrypoint, created,
		entry{"usr/", 0o755, nil}, entry{"usr/local/", 0o755, nil}, entry{"usr/local/bin/", 0o755, nil}, entry{entrypoint[1:], 0o755, binary})
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), below, above)
	if err != nil {
		return nil, err
	}
	made, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file := made.DeepCopy()
	file.Created, file.OS, file.Architecture = created, p.set["GOOS"], p.set["GOARCH"]
	if file.Architecture == "arm64" {
		file.Variant = "v8"
	}
	user := strconv.Itoa(uid)
	file.Config = v1.Config{
		User: user + ":" + user, Entrypoint: []string{entrypoint}, WorkingDir: "/",
		Env:          []string{"PATH=/usr/local/bin"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       title,
			"org.opencontainers.image.description": description,
			"org.opencontainers.image.version":     o.version,
			"org.opencontainers.image.revision":    o.revision,
			"org.opencontainers.image.licenses":    "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, file)
}

// layer returns a layer with the entries; by is the command in the image's history.
func layer(by string, created v1.Time, entries ...entry) (mutate.Addendum, error) {
	content, err := pack(entries...)
	if err != nil {
		return mutate.Addendum{}, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
	return mutate.Addendum{Layer: l, History: v1.History{CreatedBy: by, Created: created}}, err
}

// roots returns the certificate authorities that Mozilla trusts, as PEM. They come from Go's
// module, so that they do not depend on the machine that builds. Those that Mozilla trusts only up
// to a date are left out, because a PEM file cannot contain that condition.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		fmt.Fprintf(&b, "# SHA-256 %x\n", sha256.Sum256(root.Certificate))
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return b.Bytes()
}
