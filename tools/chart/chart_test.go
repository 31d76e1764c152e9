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
	// namespace and release are those that the chart is rendered with.
	namespace, release = "banking", "ais"
)

// sets are the names of the example values files in deploy/helm/values.
var sets = []string{"minimal", "small", "sentinel", "cluster", "full"}

// gateway, helm and kubescore are the paths of the programs. The environment variables GATEWAY,
// HELM and KUBESCORE, which `make chart` sets, name programs that are already built. TestMain
// builds those that are not set.
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

// command returns a command whose environment contains no cluster and no settings of the user.
func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "KUBECONFIG=" + filepath.Join(dir, "none")}
	return c
}

// A set is a values file with changes to it, in the form of Helm's --set-json.
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

// rendered caches the rendered chart by set: the same values always render the same manifests.
var rendered sync.Map

// render returns the chart's manifests for a set of values. The error has Helm's message.
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

// template renders a chart, the original or a copy, with a release name. The error has Helm's
// message.
func template(t testing.TB, release, chart string, s set) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := command(os.TempDir(), helm, s.args(t, "template", release, chart, "--namespace", namespace)...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", errors.New(stderr.String())
	}
	return stdout.String(), nil
}

// objects renders the chart and returns its objects, decoded strictly.
func objects(t testing.TB, name string, changes ...string) []runtime.Object {
	t.Helper()
	text, err := render(t, set{name, changes})
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// scheme returns the types of the APIs that the chart uses.
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

// decode decodes manifests into their API types. The test fails if a manifest has an unknown field.
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

// each returns the objects of type T.
func each[T runtime.Object](all []runtime.Object) []T {
	var found []T
	for _, o := range all {
		if one, ok := o.(T); ok {
			found = append(found, one)
		}
	}
	return found
}

// one returns the object of type T that belongs to a component. The test fails unless there is
// exactly one.
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
		t.Fatalf("%s has %d objects of type %T, want 1", component, len(found), *new(T))
	}
	return found[0]
}

// pods returns the templates of all pods by component.
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
