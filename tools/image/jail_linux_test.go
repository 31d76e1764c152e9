package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// jailed is the variable by which this program learns that it is to become another one, confined.
const jailed = "AIS_GATEWAY_IMAGE_JAIL"

// A jail is a container without a container engine: a directory as the whole file system, read-only, and a process in it
// that is 65532 and can never be anybody else. The network is the machine's.
type jail struct {
	Root string
	Tmp  bool // a /tmp that can be written to, and is gone afterwards
	Args []string
	Env  []string
}

// How a process can be confined depends on who runs the tests and what he may do.
type way int

const (
	mounting  way = iota // root: read-only by a mount of its own
	mapping              // anybody: the same in a user namespace
	unwriting            // root, in a container that may not mount: nothing is 65532's, and /tmp has lost its mode
	noWay
)

func (w way) String() string { return [...]string{"mounts", "user namespace", "root alone", "none"}[w] }

// ways are those that can be gone here.
var ways = sync.OnceValues(func() (can []way, err error) {
	var errs []error
	for w := range noWay {
		var err error
		if w != unwriting {
			err = w.command(jail{Root: scratch}).Run()
		} else if os.Getuid() != 0 {
			err = errors.New("not root")
		}
		if err == nil {
			can = append(can, w)
		} else {
			errs = append(errs, fmt.Errorf("%v: %w", w, err))
		}
	}
	if len(can) == 0 {
		return nil, fmt.Errorf("the image cannot be started here: run the tests as root, or allow user namespaces"+
			" (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0): %w", errors.Join(errs...))
	}
	return can, nil
})

// everyWay runs a test in each that can be gone here; one there must be.
func everyWay(t *testing.T, test func(t *testing.T, w way)) {
	can, err := ways()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range can {
		t.Run(w.String(), func(t *testing.T) { test(t, w) })
	}
}

// command is this program, to confine itself.
func (w way) command(j jail) *exec.Cmd {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{jailed + "=" + string(text)}
	switch w {
	case mounting:
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	case mapping:
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
			AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT},
		}
	case unwriting:
		cmd = exec.Command(entrypoint, j.Args...)
		cmd.Env = j.Env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.Root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
	case noWay:
	}
	return cmd
}

// confine makes of this process what the variable says, and never comes back from that.
func confine() {
	text, ok := os.LookupEnv(jailed)
	if !ok {
		return
	}
	var j jail
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		runtime.LockOSThread()
		err = j.enter()
	}
	if err == nil && j.Args == nil { // it was to be seen whether it can be done
		os.Exit(0)
	}
	if err == nil {
		err = syscall.Exec(entrypoint, append([]string{entrypoint}, j.Args...), j.Env)
	}
	fmt.Fprintln(os.Stderr, "jail:", err)
	os.Exit(125)
}

// enter leaves everything behind but the network and what is open.
func (j jail) enter() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount(j.Root, j.Root, "", unix.MS_BIND|unix.MS_REC, "") },
		func() error { return unix.Mount("", j.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "") },
	}
	if j.Tmp {
		steps = append(steps, func() error { return unix.Mount("tmpfs", filepath.Join(j.Root, "tmp"), "tmpfs", flags, "mode=1777") })
	}
	steps = append(steps, func() error { return unix.Chroot(j.Root) }, func() error { return unix.Chdir("/") })
	if os.Getuid() != uid {
		steps = append(steps,
			func() error { return syscall.Setgroups(nil) },
			func() error { return syscall.Setgid(uid) },
			func() error { return syscall.Setuid(uid) })
	}
	steps = append(steps,
		func() error { return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) },
		func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
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

// A prisoner is the image's entrypoint, running.
type prisoner struct {
	*exec.Cmd
	stdout, stderr output
	ended          chan error
}

// start runs the entrypoint in a jail until the test ends.
func (j jail) start(t *testing.T, w way) *prisoner {
	t.Helper()
	if w == unwriting && !j.Tmp {
		if err := os.Chmod(filepath.Join(j.Root, "tmp"), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	for at := j.Root; at != filepath.Dir(at); at = filepath.Dir(at) { // t.TempDir is for its owner alone
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o1 == 0 {
			if err := os.Chmod(at, info.Mode().Perm()|0o1); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := &prisoner{Cmd: w.command(j), ended: make(chan error, 1)}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// code waits for the end, and is its exit code.
func (p *prisoner) code(t *testing.T) int {
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

// stop asks the process to end, as a kubelet does.
func (p *prisoner) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 {
		t.Errorf("exit %d\n%s%s", code, &p.stdout, &p.stderr)
	}
}

// await waits until something holds, and fails the test where it does not within a minute or while the process runs.
func (p *prisoner) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || len(p.ended) > 0 {
			t.Fatalf("in vain waited until %s\n%s%s", what, &p.stdout, &p.stderr)
		}
	}
}

// listening waits until the gateway says where it listens.
func (p *prisoner) listening(t *testing.T) (api, admin string) {
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
