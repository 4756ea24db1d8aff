package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// FieldManager is the name under which the daemon writes to clusters.
const FieldManager = "chaperone"

// Trace is what tells that another tool applied an object.
type Trace struct {
	Tool promotion.Tool
	Name string // as people know it: "Helm release shop/api"
}

// lastApplied is where client-side apply keeps what it sent, Secrets included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// mark is a label or an annotation that a tool puts on what it applies.
type mark struct {
	tool             promotion.Tool
	name             string // what the value names
	field, key, home string // home is the key of the same field that holds the namespace
}

var marks = []mark{
	{promotion.ToolFlux, "Flux HelmRelease", "labels", "helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace"},
	{promotion.ToolFlux, "Flux Kustomization", "labels", "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
	{promotion.ToolHelm, "Helm release", "annotations", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"},
	{promotion.ToolArgoCD, "Argo CD application", "annotations", "argocd.argoproj.io/tracking-id", ""},
	{promotion.ToolOther, "Fleet bundle", "labels", "objectset.rio.cattle.io/hash", ""},
	{promotion.ToolOther, "OLM operator", "labels", "olm.owner", "olm.owner.namespace"},
}

// weakMark is one that manifests carry by themselves, too, such as what `helm
// template` writes. It says who applied an object only beside the tool's manager,
// or where nothing else says anything.
type weakMark struct {
	tool       promotion.Tool
	name       string
	key, value string // a label; value "" is any
	alone      bool   // counts where nothing else tells
}

var weakMarks = []weakMark{
	{promotion.ToolHelm, "Helm", "app.kubernetes.io/managed-by", "Helm", true},
	{promotion.ToolArgoCD, "Argo CD application", "app.kubernetes.io/instance", "", false},
}

// Traces are the tools that applied an object, or wrote to it, one entry each.
// Objects that only the cluster itself wrote have none.
func Traces(live *manifest.Object) []Trace {
	var t traces
	for _, m := range marks {
		if name := m.of(live); name != "" && !(m.tool == promotion.ToolHelm && t.has(promotion.ToolFlux)) {
			t.add(m.tool, name) // a HelmRelease of Flux carries Helm's marks as well
		}
	}
	writers := writersOf(live)
	for _, m := range weakMarks {
		byTool := slices.ContainsFunc(writers, func(w writer) bool { return w.tool == m.tool })
		if text := live.GetLabels()[m.key]; byTool && m.value == "" && text != "" {
			t.add(m.tool, m.name+" "+text)
		}
	}
	for _, w := range writers {
		if w.counts() {
			t.add(w.tool, w.describe())
		}
	}
	if _, found := live.GetAnnotations()[lastApplied]; found && !slices.ContainsFunc(writers, writer.wroteLastApplied) {
		t.add(promotion.ToolKubectl, "kubectl apply")
	}
	for _, m := range weakMarks {
		if m.alone && len(t) == 0 && live.GetLabels()[m.key] == m.value {
			t.add(m.tool, m.name)
		}
	}
	return t
}

type traces []Trace

func (t traces) has(tool promotion.Tool) bool {
	return slices.ContainsFunc(t, func(one Trace) bool { return one.Tool == tool })
}

// add keeps the first that is said of each tool; of tools without a word of
// their own it keeps all, as each is another.
func (t *traces) add(tool promotion.Tool, name string) {
	if !t.has(tool) || tool == promotion.ToolOther && !slices.Contains(*t, Trace{tool, name}) {
		*t = append(*t, Trace{tool, name})
	}
}

// of is what a mark says of an object, or "".
func (m mark) of(live *manifest.Object) string {
	texts := live.GetLabels()
	if m.field == "annotations" {
		texts = live.GetAnnotations()
	}
	value := texts[m.key]
	if value == "" {
		return ""
	}
	if m.tool == promotion.ToolArgoCD {
		value, _, _ = strings.Cut(value, ":") // application:group/Kind:namespace/name
	}
	if home := texts[m.home]; m.home != "" && home != "" {
		value = home + "/" + value
	}
	return m.name + " " + value
}

// writer is an entry of an object's managed fields.
type writer struct {
	entry  metav1.ManagedFieldsEntry
	fields *fieldpath.Set
	tool   promotion.Tool // "" is the cluster itself, or the daemon
	opaque bool           // its fields cannot be read
}

// writersOf reads the managed fields of an object.
func writersOf(live *manifest.Object) []writer {
	var writers []writer
	for _, entry := range live.GetManagedFields() {
		w := writer{entry: entry, fields: &fieldpath.Set{}, tool: toolOf(entry.Manager)}
		if entry.FieldsV1 != nil && w.fields.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())) != nil {
			w.fields, w.opaque = &fieldpath.Set{}, true
		}
		if w.tool == promotion.ToolOther && w.wroteLastApplied() {
			w.tool = promotion.ToolKubectl // `kubectl apply --field-manager`
		}
		writers = append(writers, w)
	}
	return writers
}

var lastAppliedPath = fieldpath.MakePathOrDie("metadata", "annotations", lastApplied)

func (w writer) wroteLastApplied() bool { return w.fields.Has(lastAppliedPath) }

// counts reports whether an entry tells that its tool applied the object:
// a controller that reports a status, or waits with a finalizer, does not.
func (w writer) counts() bool {
	if w.tool == "" || w.entry.Subresource != "" || w.entry.Manager == beforeFirstApply {
		return false
	}
	return w.opaque || w.hasOwn()
}

// hasOwn reports whether an entry has a field that is not a controller's.
func (w writer) hasOwn() bool {
	own := false
	w.fields.Iterate(func(path fieldpath.Path) {
		own = own || !isControllers(path)
	})
	return own
}

func isControllers(path fieldpath.Path) bool {
	if len(path) == 0 || path[0].FieldName == nil {
		return true // an entry without fields
	}
	switch *path[0].FieldName {
	case "status":
		return true
	case "metadata":
		return len(path) == 1 || path[1].FieldName != nil &&
			(*path[1].FieldName == "finalizers" || *path[1].FieldName == "ownerReferences")
	}
	return false
}

// describe names the writer as the people know it who started it.
func (w writer) describe() string {
	name := w.entry.Manager
	switch w.tool {
	case promotion.ToolKubectl:
		verb, isVerb := strings.CutPrefix(name, "kubectl-")
		switch {
		case w.entry.Operation == metav1.ManagedFieldsOperationApply:
			return "kubectl apply --server-side"
		case !isVerb || verb == "client-side-apply" || verb == "last-applied":
			return "kubectl apply"
		}
		return "kubectl " + verb
	case promotion.ToolHelm:
		return "Helm"
	case promotion.ToolFlux:
		return "Flux (" + name + ")"
	case promotion.ToolArgoCD:
		return "Argo CD (" + name + ")"
	}
	return "field manager " + name
}

// beforeFirstApply is what the server calls whoever wrote an object before it
// recorded that.
const beforeFirstApply = "before-first-apply"

// clusters are managers that are parts of the cluster. They write to objects,
// and apply none that people keep.
var clusters = []string{"kubelet", "kubeadm", "kubelite", "k3s", "cloud-controller-manager", "cluster-autoscaler",
	"horizontal-pod-autoscaler", "service-controller"}

// toolOf tells the tool by the name of its field manager.
func toolOf(manager string) promotion.Tool {
	name := strings.ToLower(manager)
	begins := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	switch {
	case name == FieldManager || begins(FieldManager+"-", "kube-", "vpa-") || slices.Contains(clusters, name) ||
		strings.HasSuffix(name, "-cloud-controller-manager"):
		return ""
	case name == "kubectl" || begins("kubectl-"):
		return promotion.ToolKubectl
	case name == "flux" || slices.Contains([]string{"kustomize-controller", "helm-controller"}, strings.TrimPrefix(name, "gotk-")):
		return promotion.ToolFlux
	case begins("argocd"):
		return promotion.ToolArgoCD
	case name == "helm" || begins("helm-", "terraform-provider-helm"):
		return promotion.ToolHelm
	}
	return promotion.ToolOther
}

// Knowing is the owner as it looks at an object that its inventory may know by
// its UID. One that it does is its own, also when a person took the marks away
// and edited it. Another tool's marks or fields say that it was handed over.
func (w Owner) Knowing(known bool) Owner {
	if known && !slices.Contains(w.Adopt, promotion.ToolKubectl) {
		w.Adopt = append(slices.Clone(w.Adopt), promotion.ToolKubectl)
	}
	return w
}

// handedOver reports whether it is certain whose an object is that is not the
// owner's any more: a tool with a name applies it, or another set has it. What
// a manifest carries by itself, and fields of who knows whom, do not tell.
func (w Owner) handedOver(live *manifest.Object) bool {
	if set := live.GetLabels()[LabelPartOf]; set != "" && set != w.SetID {
		return true
	}
	return slices.ContainsFunc(marks, func(m mark) bool { return m.tool != promotion.ToolOther && m.of(live) != "" }) ||
		slices.ContainsFunc(writersOf(live), func(one writer) bool {
			return one.counts() && one.tool != promotion.ToolOther && one.tool != promotion.ToolKubectl
		})
}

// unnamed are the tools whose object this is, and which the environment's file
// does not name.
func (w Owner) unnamed(live *manifest.Object) []Trace {
	return slices.DeleteFunc(Traces(live), func(t Trace) bool { return slices.Contains(w.Adopt, t.Tool) })
}

// What is said of an object comes from whoever wrote it, and ends in statuses.
const (
	maxTraces = 5
	maxName   = 200
)

func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return text
}

// wanted says whose an object is, and the word that would be right.
func wanted(unnamed []Trace) string {
	var names, words []string
	for i, t := range unnamed {
		if i == maxTraces {
			names = append(names, fmt.Sprintf("%d more", len(unnamed)-i))
		}
		if i < maxTraces {
			names = append(names, printable(t.Name))
		}
		if word := `"` + string(t.Tool) + `"`; !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(names, " and ") + "; add " + strings.Join(words, " and ") + " to adopt"
}
