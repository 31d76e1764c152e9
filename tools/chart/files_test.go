package chart_test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// group is the group that all containers run as, and that owns the files that Kubernetes writes
// into volumes.
const group = 65532

// A disk is the file system of a container: the container, its pod's volumes, and the objects that
// they refer to.
type disk struct {
	core.Container
	pod    core.PodSpec
	claims []core.PersistentVolumeClaim // the claim templates of its StatefulSet
	all    []runtime.Object
}

// disks returns the file systems of all containers, by "component/container".
func disks(all []runtime.Object) map[string]disk {
	found := map[string]disk{}
	for name, pod := range pods(all) {
		d := disk{pod: pod.Spec, all: all}
		if name == "redis" {
			d.claims = each[*apps.StatefulSet](all)[0].Spec.VolumeClaimTemplates
		}
		for _, c := range pod.Spec.Containers {
			d.Container = c
			found[name+"/"+c.Name] = d
		}
	}
	return found
}

// mounted returns the mount that contains a file, and the file's path below that mount.
func (d disk) mounted(file string) (m core.VolumeMount, below string, err error) {
	for _, v := range d.VolumeMounts {
		b, under := strings.CutPrefix(file+"/", strings.TrimSuffix(v.MountPath, "/")+"/")
		if under && len(v.MountPath) > len(m.MountPath) {
			m, below = v, strings.TrimSuffix(b, "/")
		}
	}
	if m.Name == "" {
		return m, "", fmt.Errorf("%s is not below a mount", file)
	}
	return m, below, nil
}

// checkReadable returns an error if the process cannot read a file that Kubernetes writes with the
// last of the modes that is set, or 0644 if none is.
func (d disk) checkReadable(modes ...*int32) error {
	mode := int32(0o644)
	for _, m := range modes {
		if m != nil {
			mode = *m
		}
	}
	s := d.pod.SecurityContext
	ours := s != nil && s.FSGroup != nil && s.RunAsGroup != nil && *s.FSGroup == *s.RunAsGroup
	if mode&0o004 == 0 && (mode&0o040 == 0 || !ours) {
		return fmt.Errorf("has mode %04o and cannot be read", mode)
	}
	return nil
}

// volumeKey returns the key of a volume that is written at a path: that of the item with the path
// or, without items, the path itself. It returns an error if there is no such item, or if the
// process cannot read the file.
func (d disk) volumeKey(below string, items []core.KeyToPath, mode *int32) (key string, err error) {
	if len(items) == 0 {
		return below, d.checkReadable(mode)
	}
	for _, i := range items {
		if i.Path == below {
			return i.Key, d.checkReadable(mode, i.Mode)
		}
	}
	return "", fmt.Errorf("is not one of the items")
}

// read returns the content of a file, or "" if only the cluster has it, as for a Secret. It returns
// an error if the file does not exist or cannot be read.
func (d disk) read(file string) (string, error) {
	m, below, err := d.mounted(file)
	if err != nil {
		return "", err
	}
	for _, v := range d.pod.Volumes {
		if v.Name != m.Name {
			continue
		}
		switch {
		case v.ConfigMap != nil:
			var key string
			if key, err = d.volumeKey(below, v.ConfigMap.Items, v.ConfigMap.DefaultMode); err == nil {
				return d.value(v.ConfigMap.Name, key)
			}
		case v.Secret != nil:
			if _, err = d.volumeKey(below, v.Secret.Items, v.Secret.DefaultMode); err == nil && strings.Contains(below, "/") {
				err = fmt.Errorf("is in a directory, which a Secret cannot have")
			}
		case v.Projected != nil:
			err = d.projected(below, v.Projected)
		}
		if err != nil {
			return "", fmt.Errorf("%s %w", file, err)
		}
		return "", nil
	}
	if slices.ContainsFunc(d.claims, func(c core.PersistentVolumeClaim) bool { return c.Name == m.Name }) {
		return "", nil
	}
	return "", fmt.Errorf("%s lies in %s, which is no volume", file, m.Name)
}

func (d disk) value(configMap, key string) (string, error) {
	for _, c := range each[*core.ConfigMap](d.all) {
		if text := c.Data[key]; c.Name == configMap && text != "" {
			return text, nil
		}
	}
	return "", fmt.Errorf("there is no ConfigMap %s with the key %s", configMap, key)
}

func (d disk) projected(below string, p *core.ProjectedVolumeSource) error {
	for _, s := range p.Sources {
		if s.ServiceAccountToken != nil && s.ServiceAccountToken.Path == below {
			return d.checkReadable(p.DefaultMode)
		}
		if s.ConfigMap != nil {
			if _, err := d.volumeKey(below, s.ConfigMap.Items, p.DefaultMode); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("is not in the sources of the volume")
}

// writable reports whether data that the process writes below a directory survive the pod. It
// returns an error if the process cannot write there.
func (d disk) writable(dir string) (kept bool, err error) {
	m, _, err := d.mounted(dir)
	if err != nil {
		return false, err
	}
	if s := d.pod.SecurityContext; m.ReadOnly || s == nil || s.FSGroup == nil || *s.FSGroup != group {
		return false, fmt.Errorf("%s cannot be written by group %d", dir, group)
	}
	for _, c := range d.claims {
		if c.Name != m.Name {
			continue
		}
		if len(c.Spec.AccessModes) != 1 || c.Spec.AccessModes[0] != core.ReadWriteOnce {
			return true, fmt.Errorf("%s is claimed with the access modes %v", dir, c.Spec.AccessModes)
		}
		return true, nil
	}
	for _, v := range d.pod.Volumes {
		if v.Name == m.Name {
			if v.PersistentVolumeClaim == nil && v.EmptyDir == nil {
				return false, fmt.Errorf("%s is in a read-only kind of volume", dir)
			}
			return v.EmptyDir == nil, nil
		}
	}
	return false, fmt.Errorf("%s lies in %s, which is no volume", dir, m.Name)
}

// configFiles returns the files that a configuration names: those that the gateway reads, and those
// that it writes.
func configFiles(part any) (read, written []string) {
	visit := func(below any) {
		r, w := configFiles(below)
		read, written = append(read, r...), append(written, w...)
	}
	switch part := part.(type) {
	case map[string]any:
		for key, value := range part {
			switch file, ok := value.(string); {
			case ok && strings.HasSuffix(key, "File"):
				read = append(read, file)
			case ok && key == "file":
				written = append(written, file)
			default:
				visit(value)
			}
		}
	case []any:
		for _, value := range part {
			visit(value)
		}
	}
	return read, written
}

// scriptPath matches an absolute path in a shell script or a configuration of Redis.
var scriptPath = regexp.MustCompile(`(?m)(?:^|[\s"'(=<])(/[a-z][A-Za-z0-9._/-]*)`)

// checkFiles checks that every file that a container uses is in one of its volumes, and that the
// container's user can read or write it. The configuration names the files of the gateway and of
// the check, and the start script names those of Redis.
func checkFiles(t testing.TB, all []runtime.Object) {
	t.Helper()
	for name, d := range disks(all) {
		if s := d.pod.SecurityContext; s.FSGroup == nil || *s.FSGroup != group || s.RunAsGroup == nil || *s.RunAsGroup != group {
			t.Errorf("%s: the mounted files do not belong to the group", name)
		}
		for _, v := range d.pod.Volumes {
			if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode&0o007 != 0) {
				t.Errorf("%s: every user can read Secret %s", name, v.Secret.SecretName)
			}
		}
		switch name {
		case "gateway/gateway":
			d.checkConfig(t, name, "serve")
		case "test/check":
			d.checkConfig(t, name, "check")
		case "redis/redis":
			d.checkScripts(t)
		}
	}
}

// checkConfig checks the files that the configuration of a gateway names.
func (d disk) checkConfig(t testing.TB, name, command string) {
	t.Helper()
	if len(d.Args) != 3 || d.Args[0] != command || d.Args[1] != "--config" {
		t.Errorf("%s: the arguments are %v", name, d.Args)
		return
	}
	text, err := d.read(d.Args[2])
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	var config any
	must(t, yaml.Unmarshal([]byte(text), &config))
	read, written := configFiles(config)
	if err == nil && len(read) == 0 {
		t.Errorf("%s: %s names no file", name, d.Args[2])
	}
	for _, file := range read {
		if _, err := d.read(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range written {
		if _, err := d.writable(path.Dir(file)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkScripts checks the files that the start script, the configuration and the probes of Redis
// name.
func (d disk) checkScripts(t testing.TB) {
	t.Helper()
	texts := []string{strings.Join(d.Command, " ")}
	for _, p := range []*core.Probe{d.StartupProbe, d.LivenessProbe, d.ReadinessProbe} {
		texts = append(texts, strings.Join(p.Exec.Command, " "))
	}
	dir, seen := "", map[string]bool{}
	for len(texts) > 0 {
		text := texts[0]
		texts = texts[1:]
		if m := regexp.MustCompile(`(?m)^dir (\S+)$`).FindStringSubmatch(text); m != nil {
			dir = m[1]
		}
		for _, m := range scriptPath.FindAllStringSubmatch(text, -1) {
			if m[1] == dir || seen[m[1]] {
				continue
			}
			seen[m[1]] = true
			more, err := d.read(m[1])
			if err != nil {
				t.Errorf("redis: %v", err)
			}
			texts = append(texts, more)
		}
	}
	if len(seen) < 3 {
		t.Errorf("redis: only the files %v are named", seen)
	}
	if kept, err := d.writable(dir); err != nil || !kept {
		t.Errorf("redis: the data do not survive the pod: %v", err)
	}
}

// TestFiles: containers can read and write the files that they use.
func TestFiles(t *testing.T) { everySet(t, checkFiles) }
