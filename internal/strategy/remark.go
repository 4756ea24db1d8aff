package strategy

import (
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// remarks are what people should know of a copy before it is there.
func (d *designer) remarks(m *mover) {
	for _, r := range configOf(m.old) {
		before, after := d.readBy(d.Before, r), d.readBy(d.After, r)
		if before != nil && after != nil && !same(content(before), content(after)) {
			d.note(fmt.Sprintf("%s/%s changes with the first step, and the old version of Deployment/%s reads it as well; "+
				"a name with a hash of its content keeps them apart", r.kind, r.name, m.Deployment))
		}
	}
	d.migrates(m)
	if m.scaler != nil && matches(m.new, m.copyPods()) {
		d.note(fmt.Sprintf("HorizontalPodAutoscaler/%s counts the pods of Deployment/%s with those of Deployment/%s while both are there",
			m.scaler.GetName(), m.copyName, m.Deployment))
	}
	if m.scaler == nil && d.elastic(m.Deployment) {
		d.note(fmt.Sprintf("a ScaledObject scales Deployment/%s and not Deployment/%s, which has %s at most", m.Deployment, m.copyName, podsText(m.pods)))
	}
	if d.apart(m) {
		d.note(fmt.Sprintf("no node may have two pods of Deployment/%s, so those of Deployment/%s need nodes of their own", m.Deployment, m.copyName))
	}
	d.attached(m)
	if m.BlueGreen != nil && headless(find(d.After, service, d.Namespace, m.Service)) {
		d.note(fmt.Sprintf("Service/%s is headless: clients that keep the addresses of pods notice the switch only when they ask DNS again", m.Service))
	}
}

// migrates tells of what is done to the data before the first step: rolled pods meet
// it for a moment, and these for as long as the steps take.
func (d *designer) migrates(m *mover) {
	for _, o := range d.After.Objects() {
		if before := d.counterpart(d.Before, o); manifest.StageOf(o) == manifest.StagePreDeploy && (before == nil || !same(before.Object, o.Object)) {
			d.note(fmt.Sprintf("%s/%s runs before the first step, and the old version of Deployment/%s has to do with what it leaves until the last",
				o.GetKind(), o.GetName(), m.Deployment))
		}
	}
}

func (d *designer) readBy(set manifest.Set, r reading) *manifest.Object {
	for _, o := range set.Objects() {
		if o.GetAPIVersion() == "v1" && o.GetKind() == r.kind && o.GetName() == r.name && within(o, d.Namespace) {
			return o
		}
	}
	return nil
}

// content is what a ConfigMap or a Secret holds.
func content(o *manifest.Object) []any {
	return []any{o.Object["data"], o.Object["binaryData"], o.Object["stringData"]}
}

// elastic reports whether KEDA decides how many pods a Deployment has.
func (d *designer) elastic(name string) bool {
	return slices.ContainsFunc(d.After.Objects(), func(o *manifest.Object) bool {
		target := mapAt(o.Object, "spec", "scaleTargetRef")
		return o.GetKind() == "ScaledObject" && o.GroupVersionKind().Group == "keda.sh" && within(o, d.Namespace) && target["name"] == name
	})
}

// apart reports whether running pods of the workload keep the copy's off their
// nodes. What a pod asks of others when it is placed holds for those placed later.
func (d *designer) apart(m *mover) bool {
	for _, o := range []*manifest.Object{m.old, m.new} {
		for _, term := range listAt(o.Object, "spec", "template", "spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution") {
			if selector := selectorOf(mapAt(term, "labelSelector")); selector != nil && selector.Matches(m.copyPods()) {
				return true
			}
		}
	}
	return false
}

// attached finds policies that name the Service: the copy's Service has none.
func (d *designer) attached(m *mover) {
	for _, o := range d.After.Objects() {
		targets := listAt(o.Object, "spec", "targetRefs")
		if one := mapAt(o.Object, "spec", "targetRef"); one != nil {
			targets = append(targets, one)
		}
		for _, target := range targets {
			if target["kind"] == "Service" && target["name"] == m.Service && within(o, d.Namespace) {
				d.note(fmt.Sprintf("%s/%s is about Service/%s and not about Service/%s, by which the copy is asked", o.GetKind(), o.GetName(), m.Service, m.copySvc))
			}
		}
	}
}

// reading is how a pod gets at a ConfigMap or a Secret.
type reading struct {
	kind, name string
	live       bool // as files that change while the pod runs
}

// configOf are the ConfigMaps and Secrets that a workload's pods read.
func configOf(workload *manifest.Object) []reading {
	var all []reading
	add := func(kind, name string, live bool) {
		if r := (reading{kind, name, live}); name != "" && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	spec := mapAt(workload.Object, podSpec(workload)...)
	fixed := subPaths(spec)
	for _, volume := range listAt(spec, "volumes") {
		live := !slices.Contains(fixed, textAt(volume, "name"))
		add("ConfigMap", textAt(volume, "configMap", "name"), live)
		add("Secret", textAt(volume, "secret", "secretName"), live)
		for _, source := range listAt(volume, "projected", "sources") {
			add("ConfigMap", textAt(source, "configMap", "name"), live)
			add("Secret", textAt(source, "secret", "name"), live)
		}
	}
	for _, container := range containers(spec) {
		for _, from := range listAt(container, "envFrom") {
			add("ConfigMap", textAt(from, "configMapRef", "name"), false)
			add("Secret", textAt(from, "secretRef", "name"), false)
		}
		for _, env := range listAt(container, "env") {
			add("ConfigMap", textAt(env, "valueFrom", "configMapKeyRef", "name"), false)
			add("Secret", textAt(env, "valueFrom", "secretKeyRef", "name"), false)
		}
	}
	return all
}

func podSpec(workload *manifest.Object) []string {
	if workload.GetKind() == "CronJob" {
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	return []string{"spec", "template", "spec"}
}

func containers(spec map[string]any) []map[string]any {
	return append(listAt(spec, "initContainers"), listAt(spec, "containers")...)
}

// subPaths are the volumes of which a part is mounted: such a mount never
// changes while the pod runs.
func subPaths(spec map[string]any) []string {
	var names []string
	for _, container := range containers(spec) {
		for _, mount := range listAt(container, "volumeMounts") {
			if textAt(mount, "subPath") != "" || textAt(mount, "subPathExpr") != "" {
				names = append(names, textAt(mount, "name"))
			}
		}
	}
	return names
}

// flags says of a release that changes nothing but what ConfigMaps hold who reads
// them, and from when; "" is any other release. There is no rollout to wait for.
func flags(before, after manifest.Set, namespace string) string {
	changed := settings(before, after)
	if len(changed) == 0 {
		return ""
	}
	var live, later []string
	for _, o := range after.Objects() {
		for _, r := range configOf(o) {
			if r.kind != "ConfigMap" || !slices.Contains(changed, r.name) || !within(o, namespace) {
				continue
			}
			reader := o.GetKind() + "/" + o.GetName()
			if r.live {
				live = append(live, reader)
			} else {
				later = append(later, reader)
			}
		}
	}
	text := "only " + names("ConfigMap/", changed) + " changes, without a rollout"
	if len(live) > 0 {
		text += "; read while it runs by " + names("", live)
	}
	if len(later) > 0 {
		text += "; read by " + names("", later) + " only when pods start anew"
	}
	return text
}

// settings are the names of the ConfigMaps that a release changes; none where it
// changes anything else.
func settings(before, after manifest.Set) []string {
	if before.Len() == 0 || before.Len() != after.Len() {
		return nil
	}
	var changed []string
	for _, o := range after.Objects() {
		last, found := before.Get(manifest.IDOf(o))
		switch {
		case found && same(last.Object, o.Object):
		case !found || o.GetAPIVersion() != "v1" || o.GetKind() != "ConfigMap":
			return nil
		default:
			changed = append(changed, o.GetName())
		}
	}
	return changed
}

func names(prefix string, all []string) string {
	slices.Sort(all)
	all = slices.Compact(all)
	const most = 5
	text := prefix + strings.Join(all[:min(most, len(all))], ", "+prefix)
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}
