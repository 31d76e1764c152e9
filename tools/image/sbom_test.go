package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSBOM: the SBOM lists every module that `go version -m` prints for the binary in the image,
// the standard library and the module with the certificate authorities, and it has the digest of
// the image.
func TestSBOM(t *testing.T) {
	text := read(t, image(t)+".sbom.json")
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(strings.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range *bom.Components {
		listed[c.Name+" "+c.Version] = true
		if !strings.HasPrefix(c.PackageURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s has the package URL %s", c.Name, c.PackageURL)
		}
	}
	out, err := exec.Command("go", "version", "-m", filepath.Join(unpacked(t), entrypoint)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if modules == 0 && len(fields) == 2 && strings.HasPrefix(fields[1], "go") && !listed["std "+strings.TrimPrefix(fields[1], "go")] {
			t.Errorf("%s is not listed", fields[1])
		}
		if len(fields) < 3 || fields[0] != "dep" {
			continue
		}
		if modules++; !listed[fields[1]+" "+fields[2]] {
			t.Errorf("%s %s is not listed", fields[1], fields[2])
		}
	}
	if modules < 50 || len(*bom.Components) != modules+2 {
		t.Errorf("the binary has %d modules, the SBOM %d components", modules, len(*bom.Components))
	}
	if !strings.Contains(text, `"name": "`+rootsModule+`"`) {
		t.Error("the module with the certificate authorities is not listed")
	}
	digest, err := only(t, image(t)+".tar").Digest()
	if err != nil {
		t.Fatal(err)
	}
	if of := bom.Metadata.Component; of.Version != tested || !strings.HasSuffix(of.PackageURL, digest.Hex) {
		t.Errorf("the SBOM is of %s %s, want %s", of.Version, of.PackageURL, digest)
	}
}

// TestSBOMMatchesSchema: the SBOM is valid by CycloneDX's own schema, which is part of the library.
func TestSBOMMatchesSchema(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	schemas := jsonschema.NewCompiler()
	for url, name := range map[string]string{
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
	} {
		schema, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, filepath.Join(dir, name))))
		if err == nil {
			err = schemas.AddResource(url, schema)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	schema, err := schemas.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, image(t)+".sbom.json")
	for name, tt := range map[string]struct {
		text  string
		valid bool
	}{
		"unchanged":    {text, true},
		"with a fault": {strings.Replace(text, `"type": "library"`, `"type": "book"`, 1), false},
	} {
		list, err := jsonschema.UnmarshalJSON(strings.NewReader(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(list); (err == nil) != tt.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
