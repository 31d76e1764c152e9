package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const (
	chart  = "../../deploy/helm/ais-gateway"
	values = "../../deploy/helm/values"
	// namespace and release are what the chart is rendered for.
	namespace, release = "banking", "ais"
)

// sets are the examples, which users can take.
var sets = []string{"minimal", "small", "sentinel", "cluster", "full"}

// The programs: GATEWAY, HELM and KUBESCORE name those that are built already, as `make chart`
// does; else they are built.
var gateway, helm, kubescore string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chart-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, p := range []struct {
		file              *string
		variable, in, pkg string
	}{
		{&gateway, "GATEWAY", "../..", "ais-gateway/cmd/gateway"},
		{&helm, "HELM", "../helm", "helm.sh/helm/v4/cmd/helm"},
		{&kubescore, "KUBESCORE", "../kubescore", "github.com/zegl/kube-score/cmd/kube-score"},
	} {
		if *p.file = os.Getenv(p.variable); *p.file != "" {
			continue
		}
		*p.file = filepath.Join(dir, filepath.Base(p.pkg))
		if out, err := exec.Command("go", "-C", p.in, "build", "-tags", "nomsgpack", "-o", *p.file, p.pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", p.pkg, err, out)
			return 1
		}
	}
	return m.Run()
}

// command is a program with an environment that knows no cluster and no settings of the user's.
func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "KUBECONFIG=" + filepath.Join(dir, "none")}
	return c
}

// A set is a file of values, and what changes it: values as helm's --set-json takes them.
type set struct {
	name    string
	changes []string
}

func (s set) args(t testing.TB, args ...string) []string {
	t.Helper()
	args = append(args, "--values", filepath.Join(values, s.name+".yaml"))
	for _, c := range s.changes {
		args = append(args, "--set-json", c)
	}
	return args
}

// rendered are what the chart makes, by the set: the same values make the same.
var rendered sync.Map

// render is the chart with the values; the error is Helm's words.
func render(t testing.TB, s set) (string, error) {
	t.Helper()
	key := fmt.Sprint(s)
	if text, ok := rendered.Load(key); ok {
		return text.(string), nil
	}
	text, err := template(t, release, chart, s)
	if err == nil {
		rendered.Store(key, text)
	}
	return text, err
}

// template renders a chart, this one or a copy, as a release.
func template(t testing.TB, release, chart string, s set) (string, error) {
	t.Helper()
	var out, faults bytes.Buffer
	c := command(os.TempDir(), helm, s.args(t, "template", release, chart, "--namespace", namespace)...)
	c.Stdout, c.Stderr = &out, &faults
	if err := c.Run(); err != nil {
		return "", errors.New(faults.String())
	}
	return out.String(), nil
}

// objects are what the chart makes, decoded strictly.
func objects(t testing.TB, name string, changes ...string) []runtime.Object {
	t.Helper()
	text, err := render(t, set{name, changes})
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// scheme are the types of the APIs that the chart uses.
var scheme = sync.OnceValues(func() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, policy.AddToScheme, autoscaling.AddToScheme, batch.AddToScheme, networking.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
})

// decode reads manifests into the types of their APIs, and refuses what those do not have.
func decode(t testing.TB, text string) []runtime.Object {
	t.Helper()
	known, err := scheme()
	must(t, err)
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, known, known, json.SerializerOptions{Yaml: true, Strict: true})
	var all []runtime.Object
	for documents := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text))); ; {
		document := make([]byte, len(text))
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := strict.Decode(document[:n], nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document[:n])
		}
		all = append(all, o)
	}
}

// each are the objects of one type.
func each[T runtime.Object](all []runtime.Object) []T {
	var found []T
	for _, o := range all {
		if one, ok := o.(T); ok {
			found = append(found, one)
		}
	}
	return found
}

// one is the object of a type and a component, of which there must be one.
func one[T interface {
	runtime.Object
	meta.Object
}](t testing.TB, all []runtime.Object, component string,
) T {
	t.Helper()
	var found []T
	for _, o := range each[T](all) {
		if o.GetLabels()["app.kubernetes.io/component"] == component {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%T of %s: %d", *new(T), component, len(found))
	}
	return found[0]
}

// pods are the templates of all pods, by the component.
func pods(all []runtime.Object) map[string]core.PodTemplateSpec {
	found := map[string]core.PodTemplateSpec{}
	for _, o := range all {
		switch o := o.(type) {
		case *apps.Deployment:
			found["gateway"] = o.Spec.Template
		case *apps.StatefulSet:
			found["redis"] = o.Spec.Template
		case *batch.Job:
			found["check"] = o.Spec.Template
		case *core.Pod:
			found["test"] = core.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		}
	}
	return found
}
