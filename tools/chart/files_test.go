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

// group is who all containers run as, and whose the files are that Kubernetes lays into volumes.
const group = 65532

// A disk is what a container sees of its volumes.
type disk struct {
	core.Container
	pod    core.PodSpec
	claims []core.PersistentVolumeClaim // that its StatefulSet makes
	all    []runtime.Object
}

// disks are those of all containers, by the component and the container.
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

// mounted is the mount that a file lies under, and its path below it.
func (d disk) mounted(file string) (m core.VolumeMount, below string, err error) {
	for _, v := range d.VolumeMounts {
		b, under := strings.CutPrefix(file+"/", strings.TrimSuffix(v.MountPath, "/")+"/")
		if under && len(v.MountPath) > len(m.MountPath) {
			m, below = v, strings.TrimSuffix(b, "/")
		}
	}
	if m.Name == "" {
		return m, "", fmt.Errorf("%s lies under no mount", file)
	}
	return m, below, nil
}

// legible tells whether the process may read a file that Kubernetes lays with a mode.
func (d disk) legible(modes ...*int32) error {
	mode := int32(0o644)
	for _, m := range modes {
		if m != nil {
			mode = *m
		}
	}
	s := d.pod.SecurityContext
	ours := s != nil && s.FSGroup != nil && s.RunAsGroup != nil && *s.FSGroup == *s.RunAsGroup
	if mode&0o004 == 0 && (mode&0o040 == 0 || !ours) {
		return fmt.Errorf("has mode %04o, and cannot be read", mode)
	}
	return nil
}

// laid finds a key of a volume by its path there: one of the items where there are some, else the
// key of that name.
func (d disk) laid(below string, items []core.KeyToPath, mode *int32) (key string, err error) {
	if len(items) == 0 {
		return below, d.legible(mode)
	}
	for _, i := range items {
		if i.Path == below {
			return i.Key, d.legible(mode, i.Mode)
		}
	}
	return "", fmt.Errorf("is none of the items")
}

// read is the content of a file, "" where only the cluster knows it.
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
			if key, err = d.laid(below, v.ConfigMap.Items, v.ConfigMap.DefaultMode); err == nil {
				return d.value(v.ConfigMap.Name, key)
			}
		case v.Secret != nil:
			if _, err = d.laid(below, v.Secret.Items, v.Secret.DefaultMode); err == nil && strings.Contains(below, "/") {
				err = fmt.Errorf("is deeper than a Secret is")
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
	return "", fmt.Errorf("no ConfigMap %s has %s", configMap, key)
}

func (d disk) projected(below string, p *core.ProjectedVolumeSource) error {
	for _, s := range p.Sources {
		if s.ServiceAccountToken != nil && s.ServiceAccountToken.Path == below {
			return d.legible(p.DefaultMode)
		}
		if s.ConfigMap != nil {
			if _, err := d.laid(below, s.ConfigMap.Items, p.DefaultMode); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("is in none of the sources")
}

// writable tells whether the process may write below a directory, and whether what it writes is
// kept.
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
			return true, fmt.Errorf("%s is claimed as %v", dir, c.Spec.AccessModes)
		}
		return true, nil
	}
	for _, v := range d.pod.Volumes {
		if v.Name == m.Name {
			if v.PersistentVolumeClaim == nil && v.EmptyDir == nil {
				return false, fmt.Errorf("%s is in a volume of files that are given", dir)
			}
			return v.EmptyDir == nil, nil
		}
	}
	return false, fmt.Errorf("%s lies in %s, which is no volume", dir, m.Name)
}

// places are the files that a configuration names, and those of them that are written.
func places(part any) (read, written []string) {
	visit := func(below any) {
		r, w := places(below)
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

// spoken are the paths in a script.
var spoken = regexp.MustCompile(`(?m)(?:^|[\s"'(=<])(/[a-z][A-Za-z0-9._/-]*)`)

// found holds that every file that a container is told of lies in a volume of that container, where
// it may be read by who the container is, or written: the gateway's and the check's by the
// configuration that their arguments name, Redis's by its script.
func found(t testing.TB, all []runtime.Object) {
	t.Helper()
	for name, d := range disks(all) {
		if s := d.pod.SecurityContext; s.FSGroup == nil || *s.FSGroup != group || s.RunAsGroup == nil || *s.RunAsGroup != group {
			t.Errorf("%s: what is mounted is not the group's", name)
		}
		for _, v := range d.pod.Volumes {
			if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode&0o007 != 0) {
				t.Errorf("%s: Secret %s is anybody's to read", name, v.Secret.SecretName)
			}
		}
		switch name {
		case "gateway/gateway":
			d.configured(t, name, "serve")
		case "test/check":
			d.configured(t, name, "check")
		case "redis/redis":
			d.scripted(t)
		}
	}
}

func (d disk) configured(t testing.TB, name, command string) {
	t.Helper()
	if len(d.Args) != 3 || d.Args[0] != command || d.Args[1] != "--config" {
		t.Errorf("%s: is called with %v", name, d.Args)
		return
	}
	text, err := d.read(d.Args[2])
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	var config any
	must(t, yaml.Unmarshal([]byte(text), &config))
	read, written := places(config)
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

func (d disk) scripted(t testing.TB) {
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
		for _, m := range spoken.FindAllStringSubmatch(text, -1) {
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
		t.Errorf("redis: only %v are read", seen)
	}
	if kept, err := d.writable(dir); err != nil || !kept {
		t.Errorf("redis: its data are not kept: %v", err)
	}
}

func TestFiles(t *testing.T) { everySet(t, found) }
