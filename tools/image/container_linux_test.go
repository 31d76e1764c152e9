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

// A container runs a process without a container engine: the root directory is Root, which is
// read-only, the user is 65532, and there are no capabilities. The process uses the machine's
// network.
type container struct {
	Root string
	Tmp  bool // whether /tmp is writable
	Args []string
	Env  []string
}

// output collects what a process writes, and can be read while it runs.
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

// A process is a running entrypoint of the image.
type process struct {
	*exec.Cmd
	stdout, stderr output
	ended          chan error
}

// start runs the entrypoint until the test ends. If the test runs as root, the process changes its
// user to 65532. Otherwise it gets that user in a user namespace, which the system must allow.
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

// protect makes everything below Root read-only, and Root accessible to every user, because only
// the owner can access t.TempDir.
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
		if err == nil && entry.IsDir() { // so that a user other than root can remove t.TempDir
			t.Cleanup(func() { change(path, 0o755) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// code waits until the process exits and returns its exit code.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return p.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		t.Fatalf("the process does not exit\n%s%s", &p.stdout, &p.stderr)
		return 0
	}
}

// stop sends SIGTERM to the process, as a kubelet does, and checks that it exits with code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 {
		t.Errorf("exit %d\n%s%s", code, &p.stdout, &p.stderr)
	}
}

// await waits until ok returns true. The test fails after a minute, or if the process exits.
func (p *process) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || len(p.ended) > 0 {
			t.Fatalf("timeout, or the process exited, before %s\n%s%s", what, &p.stdout, &p.stderr)
		}
	}
}

// listening waits until the gateway logs its addresses, and returns the URLs of the API and the
// admin port.
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

// contents returns the names, sizes and times of all files below a directory.
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
