package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	title       = "ais-gateway"
	description = "One REST API for the account information of many banks (PSD2, AIS)"
)

// notInTags is what may stand in a version and not in a tag.
var notInTags = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

func (o order) tag() string { return notInTags.ReplaceAllString(o.version, "-") }

// image is the program with what it needs around it, for its platform.
func (o order) image(p program) (v1.Image, error) {
	below, err := base()
	if err != nil {
		return nil, err
	}
	above, err := top(p)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: o.created}
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: below, History: v1.History{CreatedBy: "make image: authorities, users, /tmp", Created: created}},
		mutate.Addendum{Layer: above, History: v1.History{CreatedBy: "make image: " + entrypoint, Created: created}})
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
	who := strconv.Itoa(uid)
	file.Config = v1.Config{
		User: who + ":" + who, Entrypoint: []string{entrypoint}, WorkingDir: "/",
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

// write makes the archive: an OCI layout, as skopeo, podman and containerd read it, with the one file besides from
// which `docker load` reads the first image. It returns the digest of what the layout's index names.
func (o order) write(images []v1.Image) (v1.Hash, error) {
	dir, err := os.MkdirTemp("", "ais-gateway-image")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(dir)
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := appendAll(at, images, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": o.tag(),
		"io.containerd.image.name":          "docker.io/library/" + title + ":" + o.tag(),
	}))
	if err != nil {
		return v1.Hash{}, err
	}
	if err := o.forDocker(at, images[0]); err != nil {
		return v1.Hash{}, err
	}
	return digest, pack(dir, o.archive)
}

// appendAll puts one image into the layout as it is, and several as an index of theirs.
func appendAll(at layout.Path, images []v1.Image, named layout.Option) (v1.Hash, error) {
	var index v1.ImageIndex = empty.Index
	for _, img := range images {
		file, err := img.ConfigFile()
		if err != nil {
			return v1.Hash{}, err
		}
		if len(images) == 1 {
			if err := at.AppendImage(img, named, layout.WithPlatform(*file.Platform())); err != nil {
				return v1.Hash{}, err
			}
			return img.Digest()
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: file.Platform()}})
	}
	if err := at.AppendIndex(index, named); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// forDocker writes manifest.json, in the form of `docker save`.
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

// pack makes one file of a directory, its entries in order and without times.
func pack(dir, archive string) error {
	files := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[path] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := add(w, filepath.ToSlash(name), 0o644, int64(len(content)), bytes.NewReader(content)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return replace(archive, b.Bytes())
}

// replace writes a file that is there whole or not at all.
func replace(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o644); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, path)
}

// size is how many bytes an image's layers have, as they are sent and as they are unpacked.
func size(img v1.Image) (packed, unpacked int64, err error) {
	layers, err := img.Layers()
	if err != nil {
		return 0, 0, err
	}
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return 0, 0, err
		}
		packed += n
		content, err := l.Uncompressed()
		if err != nil {
			return 0, 0, err
		}
		n, err = discard(content)
		if err != nil {
			return 0, 0, err
		}
		unpacked += n
	}
	return packed, unpacked, nil
}
