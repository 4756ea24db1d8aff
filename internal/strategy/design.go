package strategy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// design finds the workloads that move by a strategy, and refuses what cannot.
func (d *designer) design() error {
	for _, s := range d.Strategies {
		m, err := d.mover(s)
		if err != nil {
			return fmt.Errorf("Deployment/%s: %w", s.Deployment, err)
		}
		if m == nil {
			continue
		}
		m.plan(d)
		if err := d.exposed(m); err != nil {
			return fmt.Errorf("Deployment/%s: %w", s.Deployment, err)
		}
		if m.copies() {
			d.remarks(m)
		}
		d.movers = append(d.movers, m)
	}
	return nil
}

// mover is nil for a workload that the release has no new version of, or no old.
func (d *designer) mover(s promotion.Strategy) (*mover, error) {
	m := &mover{Strategy: s, old: find(d.Before, deployment, d.Namespace, s.Deployment),
		new: find(d.After, deployment, d.Namespace, s.Deployment), track: TrackCanary}
	if s.BlueGreen != nil {
		m.track = TrackNext
	}
	if m.old == nil && m.new == nil {
		return nil, d.unknown(s.Deployment)
	}
	if m.new == nil {
		return nil, nil // the release takes it away
	}
	if err := d.operated(s.Deployment); err != nil {
		return nil, err
	}
	if err := d.checkService(m); err != nil || m.old == nil {
		return nil, err
	}
	if replicas(m.old) == 0 || replicas(m.new) == 0 || same(at(m.old.Object, "spec", "template"), at(m.new.Object, "spec", "template")) {
		return nil, nil
	}
	m.scaler = d.scalerOf(s.Deployment)
	m.pods = d.podsOf(m)
	return m, d.copyable(m)
}

func (d *designer) unknown(name string) error {
	var names []string
	for _, o := range kind(d.After, deployment, d.Namespace) {
		names = append(names, o.GetName())
	}
	if near := strictyaml.Nearest(name, names); near != "" {
		return fmt.Errorf("has a strategy and is not in the release; did you mean Deployment/%s?", near)
	}
	return fmt.Errorf("has a strategy and is not in the release; want a Deployment that it renders in namespace %s", d.Namespace)
}

// operated refuses what an operator has strategies for.
func (d *designer) operated(name string) error {
	for _, set := range []manifest.Set{d.Before, d.After} {
		for _, o := range kind(set, flagger, d.Namespace) {
			if target := mapAt(o.Object, "spec", "targetRef"); target["name"] == name && target["kind"] == "Deployment" {
				return fmt.Errorf("it is released by Flagger's Canary/%s, which would work against a strategy; remove one of them", o.GetName())
			}
		}
		for _, o := range kind(set, rollout, d.Namespace) {
			if target := mapAt(o.Object, "spec", "workloadRef"); target["name"] == name && target["kind"] == "Deployment" {
				return fmt.Errorf("it is released by Argo's Rollout/%s, which would work against a strategy; remove one of them", o.GetName())
			}
		}
	}
	return nil
}

func (d *designer) checkService(m *mover) error {
	o := find(d.After, service, d.Namespace, m.Service)
	switch {
	case o == nil:
		return fmt.Errorf("its strategy names Service/%s, which is not in the release; want the Service that sends it requests", m.Service)
	case textAt(o.Object, "spec", "type") == "ExternalName" || serviceSelector(o) == nil:
		return fmt.Errorf("its strategy names Service/%s, which selects no pods; want one with a selector", m.Service)
	case !serves(serviceSelector(o), m.newPods()):
		return fmt.Errorf("its strategy names Service/%s, which does not select its pods; want the Service that sends it requests", m.Service)
	}
	return nil
}

func replicas(workload *manifest.Object) int {
	return number(at(workload.Object, "spec", "replicas"), 1)
}

func (d *designer) scalerOf(name string) *manifest.Object {
	for _, set := range []manifest.Set{d.After, d.Before} {
		for _, o := range kind(set, autoscaler, d.Namespace) {
			if target := mapAt(o.Object, "spec", "scaleTargetRef"); target["name"] == name && target["kind"] == "Deployment" {
				return o
			}
		}
	}
	return nil
}

// podsOf is how many pods have the requests now. Where nobody has counted, an
// autoscaler may have made as many as it may.
func (d *designer) podsOf(m *mover) int {
	counted, known := d.Replicas[m.Deployment]
	most := max(counted, replicas(m.old))
	if m.scaler == nil {
		return max(most, replicas(m.new))
	}
	most = max(most, number(at(m.scaler.Object, "spec", "minReplicas"), 1))
	if !known {
		most = max(most, number(at(m.scaler.Object, "spec", "maxReplicas"), 1))
	}
	return most
}

// copyable refuses what no copy can run beside, and names the copy.
func (d *designer) copyable(m *mover) error {
	if !same(at(m.old.Object, "spec", "selector"), at(m.new.Object, "spec", "selector")) {
		return fmt.Errorf("its selector changes, which is done only by deleting it; release that without a strategy, or take the change back")
	}
	for _, o := range []*manifest.Object{m.old, m.new} {
		if textAt(o.Object, "spec", "strategy", "type") == "Recreate" {
			return fmt.Errorf("its own strategy is Recreate, so that two versions never run at once; want RollingUpdate, or no strategy here")
		}
		if track := podLabels(o)[LabelTrack]; track != "" && track != TrackStable {
			return fmt.Errorf("its pods have the label %s: %s, by which copies are told apart; want %s, or none", LabelTrack, track, TrackStable)
		}
	}
	if name := d.singleUse(m); name != "" {
		return fmt.Errorf("it uses PersistentVolumeClaim/%s, which one pod alone may use (ReadWriteOncePod), so no copy can start; release it without a strategy", name)
	}
	m.copyName = copyName(m.Deployment, m.track, maxDeployment)
	m.copySvc = copyName(m.Service, m.track, maxService)
	if selector := selectorOf(mapAt(d.copyOf(m, 1).Object, "spec", "selector")); selector == nil || !selector.Matches(m.copyPods()) {
		return fmt.Errorf("its selector does not allow the label %s: %s; take %s out of it", LabelTrack, m.track, LabelTrack)
	}
	for _, o := range d.copies(m) {
		if taken := d.taken(o); taken {
			return fmt.Errorf("the release has a %s/%s of its own, which is what its copy would be called; want another name for it", o.GetKind(), o.GetName())
		}
	}
	return nil
}

func (d *designer) taken(o *manifest.Object) bool {
	gk := o.GroupVersionKind().GroupKind()
	return find(d.After, gk, d.Namespace, o.GetName()) != nil || find(d.Before, gk, d.Namespace, o.GetName()) != nil
}

func (d *designer) singleUse(m *mover) string {
	for _, volume := range listAt(m.new.Object, "spec", "template", "spec", "volumes") {
		name := textAt(volume, "persistentVolumeClaim", "claimName")
		o := find(d.After, claim, d.Namespace, name)
		if o == nil {
			continue
		}
		if modes, _ := at(o.Object, "spec", "accessModes").([]any); slices.Contains(modes, any("ReadWriteOncePod")) {
			return name
		}
	}
	return ""
}

// exposed sees to it that nobody gets to the copy but by way of the strategy. A
// release that brings the labels for it is itself rolled: last good's pods do not
// have them yet.
func (d *designer) exposed(m *mover) error {
	if err := d.alone(m); err != nil {
		return err
	}
	if m.byNumber() {
		return d.bridged(m)
	}
	for _, o := range kind(d.After, service, d.Namespace) {
		selector := serviceSelector(o)
		named := o.GetName() == m.Service
		if !serves(selector, m.newPods()) || !serves(selector, m.copyPods()) {
			continue
		}
		if m.BlueGreen == nil && !named {
			d.note(fmt.Sprintf("Service/%s sends requests to the canary Deployment/%s as well, by the number of its pods", o.GetName(), m.copyName))
			continue
		}
		return fmt.Errorf("Service/%s would send requests to its copy at once, as it cannot tell their pods apart; add the label %s: %s to the "+
			"pods of Deployment/%s and to the selector of Service/%s", o.GetName(), LabelTrack, TrackStable, m.Deployment, o.GetName())
	}
	if err := d.routed(m); err != nil {
		return err
	}
	for _, o := range d.stableServices(m) {
		if serves(serviceSelector(o), m.copyPods()) && (m.BlueGreen != nil || o.GetName() == m.Service) {
			m.phases, m.promotes = nil, true
			d.note(fmt.Sprintf("Deployment/%s is rolled this time: last good's pods cannot be told from a copy's yet", m.Deployment))
			return d.bridged(m)
		}
	}
	return d.bridged(m)
}

// stableServices are those that last good's pods get requests from, as they are
// while these have them.
func (d *designer) stableServices(m *mover) []*manifest.Object {
	var all []*manifest.Object
	for _, o := range kind(d.Before, service, d.Namespace) {
		if serves(serviceSelector(o), podLabels(m.old)) {
			all = append(all, o)
		}
	}
	return all
}

// bridged makes sure that there is a selector for both versions where a Service
// has to have both, and a step for a Service that narrows to what the old pods
// do not have: it must not before they are gone.
func (d *designer) bridged(m *mover) error {
	for _, before := range d.stableServices(m) {
		after := find(d.After, service, d.Namespace, before.GetName())
		if after == nil || !serves(serviceSelector(after), m.newPods()) {
			continue
		}
		if !serves(serviceSelector(after), podLabels(m.old)) {
			m.promotes = true
		}
		if m.BlueGreen != nil && m.copies() {
			continue // it never has both
		}
		pods := m.newPods()
		if m.byNumber() && m.copies() {
			pods = m.copyPods()
			if port := movedPort(before, after); port != "" {
				return fmt.Errorf("port %s of Service/%s goes to another port of the pods than before, and both versions are behind it; "+
					"give the containers' port a name and use that, or share by an HTTPRoute", port, after.GetName())
			}
		}
		if bridge(before, after, podLabels(m.old), pods) == nil {
			return fmt.Errorf("no selector of Service/%s selects both the pods of last good and those of the release; want one label that both have", after.GetName())
		}
	}
	return nil
}

// alone refuses a Service that has the pods of two workloads, when it is to be
// pointed at one of them, or at two in different steps.
func (d *designer) alone(m *mover) error {
	for _, set := range []manifest.Set{d.Before, d.After} {
		for _, svc := range kind(set, service, d.Namespace) {
			if !serves(serviceSelector(svc), m.newPods()) {
				continue
			}
			for _, o := range set.Objects() {
				other := within(o, d.Namespace) && o.GetName() != m.Deployment && serves(serviceSelector(svc), podLabels(o))
				if other && (m.BlueGreen != nil || d.strategic(o)) {
					return fmt.Errorf("Service/%s sends requests to %s/%s as well, which would not change with it; want a Service for each", svc.GetName(), o.GetKind(), o.GetName())
				}
			}
		}
	}
	return nil
}

func (d *designer) strategic(o *manifest.Object) bool {
	return o.GroupVersionKind().GroupKind() == deployment &&
		slices.ContainsFunc(d.Strategies, func(s promotion.Strategy) bool { return s.Deployment == o.GetName() })
}

// movedPort is a port of a Service that goes to another number in the pods.
func movedPort(before, after *manifest.Object) string {
	target := func(port map[string]any) any {
		if port["targetPort"] == nil {
			return port["port"]
		}
		return port["targetPort"]
	}
	for _, old := range listAt(before.Object, "spec", "ports") {
		for _, port := range listAt(after.Object, "spec", "ports") {
			if same(old["port"], port["port"]) && same(old["protocol"], port["protocol"]) && !same(target(old), target(port)) {
				return fmt.Sprint(port["port"])
			}
		}
	}
	return ""
}

// bridge is a selector by which a Service has the pods of two versions: the
// release's, last good's, or what they have in common, without the track.
func bridge(before, after *manifest.Object, old, new labels.Set) labels.Set {
	first, second := serviceSelector(after), serviceSelector(before)
	common := labels.Set{}
	for key, value := range first {
		if second[key] == value && key != LabelTrack {
			common[key] = value
		}
	}
	for _, selector := range []labels.Set{first, second, common} {
		if serves(selector, old) && serves(selector, new) {
			return selector
		}
	}
	return nil
}

// The longest names: a Deployment's with a dash and ten characters is its
// ReplicaSets', and a Service's is one label of DNS.
const (
	maxDeployment = 253 - 11
	maxService    = 63
	maxObject     = 253
)

// copyName is the name with the track, and where that is too long with a hash in
// place of the end.
func copyName(name, track string, most int) string {
	if len(name)+1+len(track) <= most {
		return name + "-" + track
	}
	sum := sha256.Sum256([]byte(name))
	end := "-" + hex.EncodeToString(sum[:])[:8] + "-" + track
	return strings.TrimRight(name[:most-len(end)], "-.") + end
}
