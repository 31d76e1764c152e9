// Image puts the gateway's binary into an OCI image, without a daemon and without a registry, and writes the list of
// what is in it beside it. `make image` calls it; Docker builds the same from deploy/Dockerfile, and the tests hold both
// against each other, start what is in the archive, and run what deploy/compose.yaml says.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An order is what is to be made of which binaries.
type order struct {
	version, revision string
	created           time.Time // what the image says; nothing in it is as of now, so that it is the same each time
	binaries          []string  // one for each platform
	archive, sbom     string    // the files to write
}

func main() {
	var o order
	flag.StringVar(&o.version, "version", "dev", "the image's `version`, and its tag")
	flag.StringVar(&o.revision, "revision", "", "the `commit` it is made of")
	created := flag.Int64("created", 0, "when it was made, in `seconds` since 1970")
	flag.StringVar(&o.archive, "archive", "image.tar", "the `file` for the image")
	flag.StringVar(&o.sbom, "sbom", "image.sbom.json", "the `file` for the list of what is in it")
	flag.Parse()
	o.created, o.binaries = time.Unix(*created, 0).UTC(), flag.Args()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run makes the image and its list, and says what came out.
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
		images, programs = append(images, img), append(programs, p)
	}
	digest, err := o.write(images)
	if err != nil {
		return err
	}
	if err := o.list(programs, digest); err != nil {
		return err
	}
	for i, img := range images {
		packed, unpacked, err := size(img)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d bytes in its layers, %d packed\n", programs[i].platform(), unpacked, packed)
	}
	fmt.Fprintf(out, "%s %s, %s\n", o.archive, digest, o.sbom)
	return nil
}
