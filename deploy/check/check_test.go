// Package check holds configurations that cannot be run here against the types of the programs that read them. It is a
// module of its own, so that those programs are no dependencies of Curfew.
package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Every object is of a kind that Kubernetes knows, in its current version, with no unknown and no doubled field.
func TestKubernetes(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
	files, err := filepath.Glob("../kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var services []*corev1.Service
		var deployments []*appsv1.Deployment
		for docs := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text))); ; {
			doc := make([]byte, len(text))
			n, err := docs.Read(doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(file, err)
			}
			object, kind, err := strict.Decode(doc[:n], nil, nil)
			if err != nil {
				t.Errorf("%s: %v: %v", file, kind, err)
				continue
			}
			switch o := object.(type) {
			case *corev1.Service:
				services = append(services, o)
			case *appsv1.Deployment:
				deployments = append(deployments, o)
			}
		}
		if len(services) == 0 || len(deployments) != 1 {
			t.Fatalf("%s: %d services, %d deployments", file, len(services), len(deployments))
		}
		fits(t, file, deployments[0], services)
	}
}

// fits checks what the types cannot: that names lead somewhere, and that a namespace with the standard `restricted`
// takes it.
func fits(t *testing.T, file string, d *appsv1.Deployment, services []*corev1.Service) {
	t.Helper()
	pod := d.Spec.Template
	set := labels.Set(pod.Labels)
	if !labels.SelectorFromSet(d.Spec.Selector.MatchLabels).Matches(set) {
		t.Errorf("%s: the deployment does not select its own pods", file)
	}
	volumes, ports := map[string]bool{}, map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	if c := pod.Spec.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.SeccompProfile == nil {
		t.Errorf("%s: the pod may run as root, or without seccomp", file)
	}
	containers := append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...)
	for _, c := range containers {
		for _, p := range c.Ports {
			ports[p.Name] = true
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: container %s mounts %s, which is no volume", file, c.Name, m.Name)
			}
		}
		if c.Name == "app" { // somebody else's
			continue
		}
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || len(s.Capabilities.Drop) != 1 ||
			s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: container %s is not locked down", file, c.Name)
		}
		if c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: container %s has no bound on memory", file, c.Name)
		}
	}
	for _, c := range containers {
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe != nil && !ports[probe.HTTPGet.Port.String()] {
				t.Errorf("%s: container %s is probed at %s, which is no port", file, c.Name, probe.HTTPGet.Port.String())
			}
		}
	}
	for _, s := range services {
		if !labels.SelectorFromSet(s.Spec.Selector).Matches(set) {
			t.Errorf("%s: service %s selects nothing", file, s.Name)
		}
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.String()] {
				t.Errorf("%s: service %s leads to %s, which is no port", file, s.Name, p.TargetPort.String())
			}
		}
	}
}

// Envoy's configuration is a bootstrap with no unknown field, and every message in it is valid by Envoy's own rules.
func TestEnvoy(t *testing.T) {
	text, err := os.ReadFile("../gate/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatal(err)
	}
	var b bootstrap.Bootstrap
	if err := protojson.Unmarshal(asJSON, &b); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := validate(&b, &n); err != nil {
		t.Error(err)
	}
	if n < 5 { // manager, filters, the route's own, the header mutation
		t.Errorf("only %d messages were found inside", n)
	}
}

// validate asks a message and those that are packed inside of it whether they are valid, and counts the latter.
func validate(m proto.Message, packed *int) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return err
		}
	}
	var failed error
	var walk func(protoreflect.Message)
	walk = func(r protoreflect.Message) {
		if a, ok := r.Interface().(*anypb.Any); ok {
			inner, err := a.UnmarshalNew()
			if *packed++; err == nil {
				err = validate(inner, packed)
			}
			failed = errors.Join(failed, err)
			return
		}
		r.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsMap():
				if f.MapValue().Message() != nil {
					v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { walk(v.Message()); return true })
				}
			case f.Message() == nil:
			case f.IsList():
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			default:
				walk(v.Message())
			}
			return true
		})
	}
	walk(m.ProtoReflect())
	return failed
}

// Traefik's types are too large a dependency: what is looked at is that the file is YAML without doubled keys, and that
// every name in it leads somewhere.
func TestTraefik(t *testing.T) {
	text, err := os.ReadFile("../gate/traefik.yml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		HTTP struct {
			Routers map[string]struct {
				Rule        string
				EntryPoints []string
				Middlewares []string
				Service     string
			}
			Middlewares map[string]struct {
				Headers *struct {
					CustomRequestHeaders map[string]string
				}
				ForwardAuth *struct {
					Address                  string
					AuthRequestHeaders       []string
					AuthResponseHeadersRegex string
				}
			}
			Services map[string]struct {
				LoadBalancer struct {
					Servers []struct{ URL string }
				}
			}
		}
	}
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	for name, r := range c.HTTP.Routers {
		if _, ok := c.HTTP.Services[r.Service]; !ok {
			t.Errorf("router %s: no service %s", name, r.Service)
		}
		if len(r.Middlewares) == 0 || r.Middlewares[0] != "curfew-strip" {
			t.Errorf("router %s does not strip first: %q", name, r.Middlewares)
		}
		for _, m := range r.Middlewares {
			if w, ok := c.HTTP.Middlewares[m]; !ok || (w.Headers == nil && !strings.HasPrefix(w.ForwardAuth.Address, "http://127.0.0.1:8082/check")) {
				t.Errorf("router %s: middleware %s", name, m)
			}
		}
	}
}
