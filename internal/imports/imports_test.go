// Package imports tests which package imports which, by the rules of rules_test.go. It reads the
// files itself, so that files of every platform and build tag count, and so that a cached result is
// never that of other files.
package imports

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ais-gateway/"

// check returns why the file must not import the package, and "" if it may. The file's path begins
// at the module's root.
func check(rules []rule, file, imported string) string {
	dir, test := path.Dir(file), strings.HasSuffix(file, "_test.go")
	r, found := find(rules, dir)
	if !found {
		return fmt.Sprintf("%s: no rule for %s: add one to internal/imports/rules_test.go", file, dir)
	}
	own, ofModule := strings.CutPrefix(imported, module)
	std := !ofModule && !strings.Contains(strings.Split(imported, "/")[0], ".")
	if std && !matches(restricted, "", own) {
		return ""
	}
	why := ""
	if other, _ := find(rules, own); ofModule && other.support {
		if test || r.support {
			return ""
		}
		why = "only tests import it"
	}
	allowed := r.code
	if test {
		allowed = slices.Concat(allowed, r.test, []string{dir})
	}
	if test || r.support {
		allowed = slices.Concat(allowed, anyTest)
	}
	if why == "" && matches(allowed, dir, own) {
		return ""
	}
	for _, reason := range reasons {
		if why == "" && matches([]string{reason.imported}, "", own) {
			why = reason.why
		}
	}
	if why == "" {
		why = "not in the list of what it may import"
	}
	return fmt.Sprintf("%s imports %s: %s (rule %q in internal/imports/rules_test.go)", file, own, why, r.dir)
}

// find returns the rule for a directory: the one with exactly that name, or else the first whose
// pattern matches.
func find(rules []rule, dir string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.dir == dir })
	if i < 0 {
		i = slices.IndexFunc(rules, func(r rule) bool { return matches([]string{r.dir}, "", dir) })
	}
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

// matches reports whether a pattern matches the package. A pattern that begins with "." is relative
// to dir.
func matches(patterns []string, dir, pkg string) bool {
	for _, pattern := range patterns {
		if strings.HasPrefix(pattern, "./") {
			pattern = dir + pattern[1:]
		}
		head, below := strings.CutSuffix(pattern, "/...")
		name := pkg
		if parts, n := strings.Split(pkg, "/"), strings.Count(head, "/")+1; below && len(parts) > n {
			name = strings.Join(parts[:n], "/")
		}
		if ok, err := path.Match(head, name); err == nil && ok {
			return true
		}
	}
	return false
}

// read returns the imports of every Go file of the module in root, by the file's path from there.
func read(root string) (map[string][]string, error) {
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if err == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin" {
				return fs.SkipDir // another module, or no code
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		files[file] = nil
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			files[file] = append(files[file], imported)
		}
		return nil
	})
	return files, err
}

// faults returns all imports that the rules do not allow, directories without a rule, and rules
// without a directory.
func faults(rules []rule, files map[string][]string) []string {
	found, used := map[string]bool{}, map[string]bool{}
	for file, imports := range files {
		if r, ok := find(rules, path.Dir(file)); ok {
			used[r.dir] = true
		}
		for _, imported := range append(imports, "unsafe") { // so that a file without imports needs a rule too
			found[check(rules, file, imported)] = true
		}
	}
	for _, r := range rules {
		if !used[r.dir] {
			found[fmt.Sprintf("rule %q: there is no such directory with Go files", r.dir)] = true
		}
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}

func TestImports(t *testing.T) {
	files, err := read("../..")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, fault := range faults(rules, files) {
		t.Error(fault)
	}
}
