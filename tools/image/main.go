// Image writes an OCI image with the gateway's binary, without a daemon and without a registry, and
// an SBOM of the image. `make image` runs it. Docker builds the same image from deploy/Dockerfile.
// The tests compare both, run the binary from the unpacked layers, and run the containers of
// deploy/compose.yaml.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// An order contains the settings of one image: its binaries, its metadata and the files to write.
type order struct {
	version, revision string
	created           time.Time // the image's time of creation, fixed so that the image is reproducible
	binaries          []string  // one for each platform
	archive, sbom     string    // the files to write
}

func main() {
	var o order
	flag.StringVar(&o.version, "version", "dev", "the image's `version`, and its tag")
	flag.StringVar(&o.revision, "revision", "", "the `commit` of the binaries")
	created := flag.Int64("created", 0, "the image's time of creation, in `seconds` since 1970")
	flag.StringVar(&o.archive, "archive", "image.tar", "the `file` for the image")
	flag.StringVar(&o.sbom, "sbom", "image.sbom.json", "the `file` for the list of what is in it")
	flag.Parse()
	o.created, o.binaries = time.Unix(*created, 0).UTC(), flag.Args()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run writes the image and its SBOM, and prints the sizes of the layers and the digest to out.
func run(o order, out io.Writer) error {
	if len(o.binaries) == 0 {
		return errors.New("no binary is named")
	}
	var images []v1.Image
	var programs []program
	for _, path := range o.binaries {
		p, err := open(path)
		if err != nil {
			return err
		}
		img, err := o.image(p)
		if err != nil {
			return err
		}
		packed, unpacked, err := size(img)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s/%s: %d bytes in its layers, %d packed\n", p.set["GOOS"], p.set["GOARCH"], unpacked, packed)
		images, programs = append(images, img), append(programs, p)
	}
	digest, err := o.write(images)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s, %s\n", o.archive, digest, o.sbom)
	return o.list(programs, digest)
}

// size returns the size of an image's layers in bytes, compressed and unpacked.
func size(img v1.Image) (packed, unpacked int64, err error) {
	manifest, err := img.Manifest()
	if err != nil {
		return 0, 0, err
	}
	for _, l := range manifest.Layers {
		packed += l.Size
	}
	content := mutate.Extract(img)
	defer content.Close()
	unpacked, err = io.Copy(io.Discard, content)
	return packed, unpacked, err
}
