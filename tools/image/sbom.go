package main

import (
	"bytes"
	"cmp"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// rootsModule is the module with the certificate authorities.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// list writes the SBOM, in CycloneDX: the modules that Go recorded in each binary, the standard
// library, and the module with the certificate authorities. It contains no time and no serial
// number, so that it is reproducible.
func (o order) list(programs []program, digest v1.Hash) error {
	found := map[string]cdx.Component{}
	put := func(kind cdx.ComponentType, name, version, sum string) {
		c := component(kind, name, version, sum)
		found[c.BOMRef] = c
	}
	for _, p := range programs {
		put(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(p.info.GoVersion, "go"), "")
		for _, m := range p.info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			put(cdx.ComponentTypeLibrary, m.Path, m.Version, m.Sum)
		}
	}
	if own, ok := debug.ReadBuildInfo(); ok {
		for _, m := range own.Deps {
			if m.Path == rootsModule {
				put(cdx.ComponentTypeData, m.Path, m.Version, m.Sum)
			}
		}
	}
	image := cdx.Component{
		BOMRef: title, Type: cdx.ComponentTypeContainer, Name: title, Version: o.version, Description: description,
		PackageURL: "pkg:oci/" + title + "@" + strings.ReplaceAll(digest.String(), ":", "%3A"),
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	components := slices.SortedFunc(maps.Values(found), func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	refs := slices.Sorted(maps.Keys(found))
	bom := cdx.NewBOM()
	bom.Metadata, bom.Components = &cdx.Metadata{Component: &image}, &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: title, Dependencies: &refs}}
	var b bytes.Buffer
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return err
	}
	return replace(o.sbom, b.Bytes())
}

// component returns the component of a Go module, with the package URL as reference. The checksum
// is a property, because CycloneDX has no hash algorithm for the form of go.sum.
func component(kind cdx.ComponentType, name, version, sum string) cdx.Component {
	c := cdx.Component{Type: kind, Name: name, Version: version, PackageURL: "pkg:golang/" + name + "@" + strings.ReplaceAll(version, "+", "%2B")}
	c.BOMRef = c.PackageURL
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
