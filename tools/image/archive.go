package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// notInTags matches what a version may contain and a tag may not.
var notInTags = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// tag returns the version as a valid tag.
func (o order) tag() string { return notInTags.ReplaceAllString(o.version, "-") }

// write writes the archive: an OCI layout with one image, or with one index of several images. It
// returns the digest of that image or index.
func (o order) write(images []v1.Image) (v1.Hash, error) {
	var whole mutate.Appendable = images[0]
	named := v1.Descriptor{Annotations: map[string]string{
		"org.opencontainers.image.ref.name": o.tag(),
		"io.containerd.image.name":          "docker.io/library/" + title + ":" + o.tag(),
	}}
	var index v1.ImageIndex = empty.Index
	for _, img := range images {
		file, err := img.ConfigFile()
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: file.Platform()}})
		named.Platform = file.Platform()
	}
	if len(images) > 1 {
		whole, named.Platform = index, nil
	}
	digest, err := whole.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	dir, err := os.MkdirTemp("", "ais-gateway-image")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(dir)
	at, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: whole, Descriptor: named}))
	if err != nil {
		return v1.Hash{}, err
	}
	if err := o.forDocker(at, images[0]); err != nil {
		return v1.Hash{}, err
	}
	var files []entry
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error { // in the order of the names
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(os.DirFS(dir), name)
		files = append(files, entry{name, 0o644, content})
		return err
	})
	if err != nil {
		return v1.Hash{}, err
	}
	content, err := pack(files...)
	if err != nil {
		return v1.Hash{}, err
	}
	return digest, replace(o.archive, content)
}

// forDocker writes manifest.json, without which `docker load` cannot read a layout unless it uses
// containerd's store.
func (o order) forDocker(at layout.Path, img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	d := tarball.Descriptor{Config: blob(manifest.Config.Digest), RepoTags: []string{title + ":" + o.tag()}}
	for _, l := range manifest.Layers {
		d.Layers = append(d.Layers, blob(l.Digest))
	}
	text, err := json.Marshal(tarball.Manifest{d})
	if err != nil {
		return err
	}
	return at.WriteFile("manifest.json", text, 0o644)
}

// An entry is a file of an archive, or a directory if its name ends with a slash.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// pack returns an archive whose entries belong to root and have no time.
func pack(entries ...entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// replace writes a file atomically.
func replace(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o644); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, path)
}
