package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

const root = "../.."

// tested and testedTag are the version and the tag of the image in the tests.
const tested, testedTag = "1.2.3-test+x", "1.2.3-test-x"

// scratch is a directory for files that all tests share.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "image-test")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// made runs `make image`, once for all tests, and returns the path of the image without extension.
var made = sync.OnceValues(func() (string, error) {
	name := filepath.Join(scratch, "image")
	return name, command(root, "make", "image", "IMAGE="+name, "VERSION="+tested)
})

// image returns the path of the image's files without extension.
func image(t *testing.T) string {
	t.Helper()
	name, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// builtBinary returns the path of the binary that the image was made from.
func builtBinary(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(image(t) + ".d/linux/*/gateway")
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// command runs a program without the environment variables of an outer make.
func command(dir string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// untar unpacks an archive into a directory, with the archive's modes and the owner of the test
// process.
func untar(t *testing.T, from io.Reader, to string) {
	t.Helper()
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !filepath.IsLocal(h.Name) {
			t.Fatalf("%q is outside of the directory", h.Name)
		}
		path := filepath.Join(to, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err == nil {
			err = os.Chmod(path, h.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// opened returns the index of an archive, read as an OCI layout.
func opened(t *testing.T, archive string) v1.ImageIndex {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir := t.TempDir()
	untar(t, file, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// only returns the only image of an archive.
func only(t *testing.T, archive string) v1.Image {
	t.Helper()
	index := opened(t, archive)
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%v, %v", manifest, err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// unpacked returns a new directory with the contents of the image's layers.
func unpacked(t *testing.T) string {
	t.Helper()
	layers, err := only(t, image(t)+".tar").Layers()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		untar(t, content, dir)
		_ = content.Close()
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
