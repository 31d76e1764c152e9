// Reproducible builds the gateway twice, from two copies of the tree in different places, with caches, homes and
// languages of their own, and holds that both times the same bytes come out. `make reproducible` calls it.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// A build is one way to make the binary.
type build struct {
	at  string   // where the tree is copied to, below a temporary directory
	env []string // what differs from this process's environment; %s is the directory of the build
}

// builds differ in all that must not matter. The first uses the caches that there are, the second compiles everything.
var builds = []build{
	{at: "a", env: []string{"TZ=UTC", "LC_ALL=C"}},
	{at: filepath.Join("elsewhere", "and deeper"), env: []string{"GOCACHE=%s", "TMPDIR=%s", "TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8"}},
}

func main() {
	root := flag.String("root", "..", "the project's `directory`")
	version := flag.String("version", "dev", "the `version` that the binary says it is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *root, *version, builds); err != nil {
		fmt.Fprintln(os.Stderr, "reproducible:", err)
		os.Exit(1)
	}
}

// run makes the builds, says what came out, and is an error unless it is the same for all.
func run(ctx context.Context, out io.Writer, root, version string, builds []build) error {
	dir, err := os.MkdirTemp("", "reproducible")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sums := map[string]bool{}
	for _, b := range builds {
		sum, err := b.make(ctx, root, dir, version)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s  bin/gateway %s, built in %q\n", sum, version, b.at)
		sums[sum] = true
	}
	if len(sums) > 1 {
		return errors.New("what comes out depends on where and how it is built")
	}
	return nil
}

// make copies the tree, has its Makefile build the binary as everybody does, and is its SHA-256.
func (b build) make(ctx context.Context, root, dir, version string) (string, error) {
	tree := filepath.Join(dir, b.at)
	if err := copyTree(ctx, root, tree); err != nil {
		return "", err
	}
	own := filepath.Join(dir, "own")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", "build", "VERSION="+version)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "PWD="+tree, "MAKEFLAGS=", "MAKELEVEL=")
	for _, set := range b.env {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(set, "%s", own))
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build in %q: %w: %s", b.at, err, bytes.TrimSpace(said))
	}
	binary, err := os.ReadFile(filepath.Join(tree, "bin", "gateway"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(binary)), nil
}

// copyTree copies what belongs to the tree, changed or not, as git knows it.
func copyTree(ctx context.Context, root, to string) error {
	cmd := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	list, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		from := filepath.Join(root, string(name))
		info, err := os.Stat(from)
		if errors.Is(err, os.ErrNotExist) { // removed, and git not told
			continue
		} else if err != nil {
			return err
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		path := filepath.Join(to, string(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}
