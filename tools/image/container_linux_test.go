package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A container is a container without an engine: a directory as the whole file system, in which a
// process runs as user 65532 without any capability and cannot write. The network is the machine's.
type container struct {
	Root string
	Tmp  bool // whether /tmp can be written to
	Args []string
	Env  []string
}

// output is what a process writes, while it does.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// A process is the image's entrypoint, running.
type process struct {
	*exec.Cmd
	stdout, stderr output
	ended          chan error
}

// start runs the entrypoint until the test ends. Root becomes 65532; another user is 65532 in a
// user namespace, where the system allows it.
func (c container) start(t *testing.T) *process {
	t.Helper()
	c.protect(t)
	p := &process{Cmd: exec.Command(entrypoint, c.Args...), ended: make(chan error, 1)}
	p.Env, p.Dir, p.Stdout, p.Stderr = append([]string{}, c.Env...), "/", &p.stdout, &p.stderr
	p.SysProcAttr = &syscall.SysProcAttr{Chroot: c.Root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if os.Getuid() != 0 {
		p.SysProcAttr = &syscall.SysProcAttr{
			Chroot: c.Root, Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
		}
	}
	if err := p.Start(); err != nil {
		t.Fatalf("%v (run the tests as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1,"+
			" kernel.apparmor_restrict_unprivileged_userns=0)", err)
	}
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// protect takes the permission to write from everything below the root, and lets every user reach
// it: t.TempDir is for its owner alone.
func (c container) protect(t *testing.T) {
	t.Helper()
	change := func(path string, mode os.FileMode) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for at := filepath.Dir(c.Root); at != filepath.Dir(at); at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o1 == 0 {
			change(at, info.Mode().Perm()|0o1)
		}
	}
	err := filepath.WalkDir(c.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && (!c.Tmp || path != filepath.Join(c.Root, "tmp")) {
			change(path, info.Mode().Perm()&^0o222)
		}
		if err == nil && entry.IsDir() { // so that t.TempDir can be removed by a user who is not root
			t.Cleanup(func() { change(path, 0o755) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// code waits for the end, and is its exit code.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return p.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		t.Fatalf("the process does not end\n%s%s", &p.stdout, &p.stderr)
		return 0
	}
}

// stop sends SIGTERM to the process, as a kubelet does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 {
		t.Errorf("exit %d\n%s%s", code, &p.stdout, &p.stderr)
	}
}

// await waits until something holds, and fails the test where it does not within a minute or while
// the process runs.
func (p *process) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || len(p.ended) > 0 {
			t.Fatalf("waited for nothing until %s\n%s%s", what, &p.stdout, &p.stderr)
		}
	}
}

// listening waits until the gateway says where it listens.
func (p *process) listening(t *testing.T) (api, admin string) {
	t.Helper()
	p.await(t, "the gateway listens", func() bool {
		for line := range strings.Lines(p.stdout.String() + p.stderr.String()) {
			var l struct {
				Msg, Address string
				Admin        string `json:"admin_address"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "serving" {
				api, admin = "http://"+l.Address, "http://"+l.Admin
				return true
			}
		}
		return false
	})
	return api, admin
}

// contents is everything below a directory: names, sizes and times.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
