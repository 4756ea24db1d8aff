package plan

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

const (
	admission      = "admissionregistration.k8s.io"
	labelNamespace = "kubernetes.io/metadata.name" // every Namespace has it, with its name
)

var (
	apiService = schema.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"}
	validating = schema.GroupKind{Group: admission, Kind: "ValidatingWebhookConfiguration"}
	mutating   = schema.GroupKind{Group: admission, Kind: "MutatingWebhookConfiguration"}
)

// server is an object by which the API server asks a Service of the release:
// webhooks, a conversion, an aggregated API.
type server struct {
	node      int
	services  []manifest.ID
	workloads []int // behind the services
	judges    func(*manifest.Object) bool
}

// servingEdges put what serves a webhook before the webhook, and what the
// webhook judges after it. They follow from the objects, and nobody asked for
// them: one that would close a cycle is left out. What a workload that serves
// needs itself is thereby never held back by it.
func (g *graph) servingEdges() bool {
	var servers []server
	for i, c := range g.changes {
		if s := g.serverOf(i, c.Object); s != nil {
			servers = append(servers, *s)
		}
	}
	if len(servers) == 0 {
		return false
	}
	for _, s := range servers {
		for _, workload := range s.workloads {
			g.needEdges(workload)
		}
	}
	for _, s := range servers {
		if g.changes[s.node].Stage == manifest.StageWebhook {
			g.serveEdges(s.node, s.workloads, UntilReady, whyServed)
		}
	}
	for _, s := range servers {
		g.judgeEdges(s)
	}
	return true
}

// serveEdges adds edges from some nodes to one, as far as they close no cycle.
func (g *graph) serveEdges(node int, from []int, until Until, why string) {
	if len(from) == 0 {
		return
	}
	later := g.descendants(node)
	for _, other := range from {
		if !later[other] {
			g.add(node, other, until, why)
		}
	}
}

// descendants marks everything that comes after a node, and the node.
func (g *graph) descendants(node int) []bool {
	before := make([][]int, len(g.after))
	for to, edges := range g.after {
		for _, e := range edges {
			before[e.from] = append(before[e.from], to)
		}
	}
	marked := make([]bool, len(g.after))
	for next := []int{node}; len(next) > 0; {
		node, next = next[len(next)-1], next[:len(next)-1]
		if !marked[node] {
			marked[node] = true
			next = append(next, before[node]...)
		}
	}
	return marked
}

func (g *graph) judgeEdges(s server) {
	// What comes before the server, or before what serves it, is not held back.
	before := g.ancestors(append([]int{s.node}, s.workloads...)...)
	for i, c := range g.changes {
		if before[i] || IsHook(c.Object) || g.changes[i].ID.Group == admission || !s.judges(c.Object) {
			continue
		}
		switch {
		case g.changes[s.node].ID.GroupKind() == customResource:
			for _, workload := range s.workloads {
				g.add(i, workload, UntilReady, "is converted by")
			}
		case g.changes[s.node].ID.GroupKind() == apiService:
			g.add(i, s.node, UntilAvailable, "is part of")
		default:
			g.add(i, s.node, UntilApplied, "is judged by")
		}
	}
}

// serverOf reads what an object says about Services that the API server is to
// ask, or is nil where none of them is served by the release.
func (g *graph) serverOf(node int, o *manifest.Object) *server {
	s := server{node: node}
	switch gk := o.GroupVersionKind().GroupKind(); gk {
	case validating, mutating:
		webhooks := listAt(o.Object, "webhooks")
		for _, webhook := range webhooks {
			s.ask(webhook, "clientConfig", "service")
		}
		s.judges = func(other *manifest.Object) bool {
			return slices.ContainsFunc(webhooks, func(webhook map[string]any) bool { return g.admits(webhook, other) })
		}
	case apiService:
		s.ask(o.Object, "spec", "service")
		group := textAt(o.Object, "spec", "group")
		s.judges = func(other *manifest.Object) bool { return group != "" && other.GroupVersionKind().Group == group }
	case customResource:
		s.ask(o.Object, "spec", "conversion", "webhook", "clientConfig", "service")
		defined := schema.GroupKind{Group: textAt(o.Object, "spec", "group"), Kind: textAt(o.Object, "spec", "names", "kind")}
		s.judges = func(other *manifest.Object) bool { return other.GroupVersionKind().GroupKind() == defined }
	}
	for _, service := range s.services {
		s.workloads = append(s.workloads, g.behind(service)...)
	}
	if len(s.workloads) == 0 {
		return nil
	}
	return &s
}

func (s *server) ask(o map[string]any, path ...string) {
	service, found := mapAt(o, path...)
	id := manifest.ID{Kind: "Service", Namespace: textAt(service, "namespace"), Name: textAt(service, "name")}
	if found && !slices.Contains(s.services, id) {
		s.services = append(s.services, id)
	}
}

// behind are the workloads of the release whose pods a Service of it selects.
func (g *graph) behind(service manifest.ID) []int {
	at, found := g.index[service]
	if !found {
		return nil
	}
	var workloads []int
	for i, c := range g.changes {
		if c.Stage == manifest.StageWorkload && c.ID.Group == "apps" && selects(g.changes[at].Object, c.Object) {
			workloads = append(workloads, i)
		}
	}
	return workloads
}

// selects reports whether a Service sends requests to a workload's pods.
func selects(service, workload *manifest.Object) bool {
	selector, found := mapAt(service.Object, "spec", "selector")
	template, makes := podTemplate(workload)
	if !found || len(selector) == 0 || !makes || service.GetNamespace() != workload.GetNamespace() {
		return false
	}
	pod, _ := mapAt(template, "metadata", "labels")
	for key, value := range selector {
		if pod[key] != value {
			return false
		}
	}
	return true
}

// needEdges are what a workload that serves the API server needs before it can:
// what its pods refer to, what makes that, its rights, and what bounds its
// namespace.
func (g *graph) needEdges(workload int) {
	o := g.changes[workload].Object
	account := manifest.ID{Kind: "ServiceAccount", Namespace: o.GetNamespace()}
	wanted := map[string]bool{}
	for _, id := range refers(o) {
		switch id.Kind {
		case "Secret":
			wanted[id.Name] = true
		case "ServiceAccount":
			account.Name = id.Name
		}
	}
	var needed []int
	for i, c := range g.changes {
		if c.Stage != manifest.StageConfiguration {
			continue
		}
		same := c.ID.Namespace == o.GetNamespace()
		switch {
		case IsBinding(c.ID.GroupKind()) && binds(c.Object, account),
			same && (c.ID.Kind == "NetworkPolicy" || c.ID.Kind == "ResourceQuota" || c.ID.Kind == "LimitRange"),
			same && c.ID.Kind == "Service" && selects(c.Object, o),
			same && wanted[makesSecret(c.Object)]:
			needed = append(needed, i)
		}
	}
	g.serveEdges(workload, needed, UntilApplied, "needs")
	g.issuerEdges(workload)
}

// issuerEdges follow from a certificate to who signs it.
func (g *graph) issuerEdges(workload int) {
	for i, needed := range g.ancestors(workload) {
		if !needed || i >= len(g.changes) {
			continue
		}
		issuer, found := mapAt(g.changes[i].Object.Object, "spec", "issuerRef")
		if !found {
			continue
		}
		for j, c := range g.changes {
			if c.ID.Name == textAt(issuer, "name") && c.ID.Kind == textAt(issuer, "kind") {
				g.serveEdges(i, []int{j}, UntilApplied, "is signed by")
			}
		}
	}
}

func binds(binding *manifest.Object, account manifest.ID) bool {
	for _, subject := range listAt(binding.Object, "subjects") {
		namespace := textAt(subject, "namespace")
		if namespace == "" {
			namespace = binding.GetNamespace()
		}
		if subject["kind"] == "ServiceAccount" && subject["name"] == account.Name && namespace == account.Namespace {
			return true
		}
	}
	return false
}

// makesSecret is the name of the Secret that a custom resource asks for: a
// Certificate, an ExternalSecret, a SealedSecret.
func makesSecret(o *manifest.Object) string {
	if name := textAt(o.Object, "spec", "secretName"); name != "" {
		return name
	}
	if name := textAt(o.Object, "spec", "target", "name"); name != "" {
		return name
	}
	if strings.HasSuffix(o.GetKind(), "Secret") && o.GroupVersionKind().Group != "" {
		return o.GetName()
	}
	return ""
}

// admits reports whether a webhook is asked about an object that is written. A
// namespace's labels are known where it is part of the release; where they are
// not, the webhook counts as asked.
func (g *graph) admits(webhook map[string]any, o *manifest.Object) bool {
	rules := listAt(webhook, "rules")
	if !slices.ContainsFunc(rules, func(rule map[string]any) bool { return g.ruled(rule, o) }) {
		return false
	}
	if selector, given := selectorAt(webhook, "objectSelector"); given && !selector.Matches(labels.Set(o.GetLabels())) {
		return false
	}
	id := manifest.IDOf(o)
	selector, given := selectorAt(webhook, "namespaceSelector")
	if !given || id.Namespace == "" && !isNamespace(id) {
		return true
	}
	space := id.Namespace
	if isNamespace(id) {
		space = id.Name
	}
	known := labels.Set{labelNamespace: space}
	at, rendered := g.index[manifest.ID{Kind: "Namespace", Name: space}]
	if rendered {
		known = labels.Merge(g.changes[at].Object.GetLabels(), known)
	}
	return selector.Matches(known) || !rendered && !onlyByName(selector)
}

// onlyByName reports whether a selector looks at the name of a namespace alone.
func onlyByName(selector labels.Selector) bool {
	requirements, selectable := selector.Requirements()
	return selectable && !slices.ContainsFunc(requirements, func(r labels.Requirement) bool { return r.Key() != labelNamespace })
}

// selectorAt reads a label selector; one that is not there, or that cannot be
// read, selects everything.
func selectorAt(webhook map[string]any, field string) (labels.Selector, bool) {
	m, found := mapAt(webhook, field)
	if !found {
		return nil, false
	}
	var read metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &read); err != nil {
		return nil, false
	}
	selector, err := metav1.LabelSelectorAsSelector(&read)
	return selector, err == nil
}

// ruled reports whether a rule names an object's resource, and its writing.
func (g *graph) ruled(rule map[string]any, o *manifest.Object) bool {
	gvk := o.GroupVersionKind()
	scope := textAt(rule, "scope")
	switch {
	case scope == "Namespaced" && o.GetNamespace() == "", scope == "Cluster" && o.GetNamespace() != "":
		return false
	case !names(rule, "apiGroups", gvk.Group, "*"):
		return false
	}
	return names(rule, "operations", "CREATE", "UPDATE", "*") && names(rule, "resources", g.resource(gvk), "*", "*/*")
}

// resource is the plural name of a kind: its definition's, or what is usual.
func (g *graph) resource(gvk schema.GroupVersionKind) string {
	if crd, defined := g.plurals()[gvk.GroupKind()]; defined {
		return crd
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural.Resource
}

func (g *graph) plurals() map[schema.GroupKind]string {
	if g.plural == nil {
		g.plural = map[schema.GroupKind]string{}
		for _, c := range g.changes {
			if c.ID.GroupKind() == customResource {
				o := c.Object.Object
				g.plural[schema.GroupKind{Group: textAt(o, "spec", "group"), Kind: textAt(o, "spec", "names", "kind")}] = textAt(o, "spec", "names", "plural")
			}
		}
	}
	return g.plural
}

func names(rule map[string]any, field string, want ...string) bool {
	values, _ := rule[field].([]any)
	for _, value := range values {
		if text, isText := value.(string); isText && slices.Contains(want, text) {
			return true
		}
	}
	return false
}
