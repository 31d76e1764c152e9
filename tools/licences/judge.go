package main

import (
	"fmt"
	"slices"
	"strings"
)

// permissive licences require only that their text and the names in it are passed on. The page
// explains why the other licences are allowed where they are.
var permissive = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0", "Unlicense", "Zlib",
	"GooglePatentsFile", // licensecheck's name for the patent grant that Google adds to BSD-3-Clause
}

// none is SPDX's identifier for code without a licence.
const none = "NONE"

// judged has the texts that licensecheck does not know, by the SHA-256 of the file. A changed text
// needs a new judgement.
var judged = map[string]judgement{
	"01c266bced4a434da0051174d6bee16a4c82cf634e2679b6155d40d75012390f": {
		of: "github.com/alecthomas/go-check-sumtype, COPYING", licences: []string{"MIT", "Unlicense"},
		why: "says that either may be chosen; both texts lie beside it",
	},
	"a1d1adec3ba691ef6e377a78bbe9e9e2501f2f4a1723d08857da1ac6564e4fed": {
		of: "github.com/opencontainers/go-digest, LICENSE.docs", licences: []string{"Apache-2.0"},
		why: "is for its documentation (CC-BY-SA-4.0), which is not built into anything; the code's licence lies beside it",
	},
}

// unlicensed has the packages without a licence, with the reason why they are accepted where NONE
// is allowed. Other packages of their modules have licences.
var unlicensed = map[string]string{
	"github.com/golangci/gofmt": "golangci-lint's own few lines around gofmt, which is in internal/ with its licence; built into golangci-lint alone",
}

// A judgement contains the licences of a text that was read by hand, and the reason.
type judgement struct {
	of       string
	licences []string
	why      string
}

// judge returns an error that names the licences that are not allowed, or nil if all are.
func judge(licences, allowed []string) error {
	refused := slices.DeleteFunc(slices.Clone(licences), func(id string) bool { return slices.Contains(allowed, id) })
	if len(refused) > 0 {
		return fmt.Errorf("%s is not allowed here", strings.Join(refused, ", "))
	}
	return nil
}
