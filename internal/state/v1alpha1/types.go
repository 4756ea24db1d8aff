// Package v1alpha1 holds the custom resources in which the daemon shows and
// keeps where every environment is: Environment, one for each environment of
// the source, and Release, one for each attempt to bring something to it. The
// CRDs in base/chaperone/crds are generated from these types.
// +kubebuilder:object:generate=true
// +groupName=chaperone.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of both kinds.
var GroupVersion = schema.GroupVersion{Group: "chaperone.dev", Version: "v1alpha1"}

// Environment shows one environment. Its spec mirrors Git: edits to it are
// overwritten. Its status is the daemon's. The annotations chaperone.dev/pause
// and chaperone.dev/retry are people's requests to the daemon.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=env,categories=chaperone
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Running",type=string,JSONPath=`.status.running.short`
// +kubebuilder:printcolumn:name="Wanted",type=string,JSONPath=`.status.wanted.short`
// +kubebuilder:printcolumn:name="Last good",type=string,JSONPath=`.status.lastGood.short`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.since`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
type Environment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   EnvironmentSpec   `json:"spec,omitempty"`
	Status EnvironmentStatus `json:"status,omitempty"`
}

// EnvironmentSpec is what the environment's file says.
type EnvironmentSpec struct {
	// Pipeline and Name make the environment's ID.
	Pipeline string `json:"pipeline"`
	Name     string `json:"name"`
	// Path is the directory that is rendered.
	Path string `json:"path,omitempty"`
	// After are the environments in which a change is verified before.
	After []string `json:"after,omitempty"`
	// Revision is the pin; without one the environment follows the branch.
	Revision string `json:"revision,omitempty"`
	// Data is the class of data that the environment holds.
	Data string `json:"data,omitempty"`
	// Namespace is where its objects are.
	Namespace string `json:"namespace,omitempty"`
	// Definition is the whole file with its defaults, for the daemon: it can
	// restore with it when Git cannot be reached.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +structType=atomic
	Definition runtime.RawExtension `json:"definition,omitempty"`
}

// Revision names a release.
type Revision struct {
	Revision string `json:"revision,omitempty"`
	// Short is the revision for tables.
	Short        string `json:"short,omitempty"`
	Digest       string `json:"digest,omitempty"`
	PolicyDigest string `json:"policyDigest,omitempty"`
}

// EnvironmentStatus says where the environment is, and why.
type EnvironmentStatus struct {
	ObservedGeneration int64        `json:"observedGeneration,omitempty"`
	Phase              string       `json:"phase,omitempty"`
	Reason             string       `json:"reason,omitempty"`
	Message            string       `json:"message,omitempty"`
	Since              *metav1.Time `json:"since,omitempty"`
	// Until is when the reason passes by itself; absent when it does not.
	Until      *metav1.Time `json:"until,omitempty"`
	Running    *Revision    `json:"running,omitempty"`
	Wanted     *Revision    `json:"wanted,omitempty"`
	LastGood   *Revision    `json:"lastGood,omitempty"`
	LastGoodAt *metav1.Time `json:"lastGoodAt,omitempty"`
	// Exception is the one in force here that ends first.
	Exception *ExceptionCountdown `json:"exception,omitempty"`
	// Evidence is what the last failed verification measured.
	Evidence string `json:"evidence,omitempty"`
	// Drill is whether last good could be restored when that was tried last.
	Drill *DrillStatus `json:"drill,omitempty"`
	// Conditions are Ready, Reconciling and Stalled, as kstatus reads them, and
	// Restorable, of the last drill.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Journal is the daemon's own record of intents and outcomes.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +structType=atomic
	Journal runtime.RawExtension `json:"journal,omitempty"`
}

// DrillStatus is what a trial of restoring last good came to.
type DrillStatus struct {
	// Time is when it ended; absent before the first.
	Time *metav1.Time `json:"time,omitempty"`
	// Digest is what was tried to restore.
	Digest string `json:"digest,omitempty"`
	// Objects are how many were tried.
	Objects int `json:"objects,omitempty"`
	// Problem is why it could not be restored.
	Problem string `json:"problem,omitempty"`
	// Untold is why nobody could tell when it was tried since.
	Untold string `json:"untold,omitempty"`
}

// ExceptionCountdown tells when an exception of the policies ends.
type ExceptionCountdown struct {
	Name    string      `json:"name"`
	Rule    string      `json:"rule"`
	Expires metav1.Time `json:"expires"`
}

// EnvironmentList is a list of environments.
// +kubebuilder:object:root=true
type EnvironmentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Environment `json:"items"`
}

// Release records one attempt to bring a release to an environment.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=chaperone
// +kubebuilder:printcolumn:name="Environment",type=string,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.release.short`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.spec.started`
// +kubebuilder:printcolumn:name="Subject",type=string,JSONPath=`.spec.subject`
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ReleaseSpec `json:"spec,omitempty"`
	// +kubebuilder:default={phase: Verifying}
	Status ReleaseStatus `json:"status,omitempty"`
}

// ReleaseSpec is what was attempted.
type ReleaseSpec struct {
	// Environment is pipeline/name.
	Environment string           `json:"environment"`
	Release     Revision         `json:"release"`
	Author      string           `json:"author,omitempty"`
	Subject     string           `json:"subject,omitempty"`
	Started     metav1.MicroTime `json:"started"`
}

// ReleaseStatus is how far it came.
type ReleaseStatus struct {
	Phase    string `json:"phase,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Evidence string `json:"evidence,omitempty"`
	// Log is the Secret that keeps what its hooks and smoke tests wrote last which
	// failed, without the values of Secrets.
	Log    string       `json:"log,omitempty"`
	Guilty string       `json:"guilty,omitempty"`
	Revert string       `json:"revert,omitempty"`
	Ended  *metav1.Time `json:"ended,omitempty"`
	// ApprovedBy are the people whose word counted.
	ApprovedBy []string `json:"approvedBy,omitempty"`
	// MergedBy is who merged what brought the release, on the forge.
	MergedBy string `json:"mergedBy,omitempty"`
	// PullRequest is where that was.
	PullRequest string `json:"pullRequest,omitempty"`
}

// ReleaseList is a list of releases.
// +kubebuilder:object:root=true
type ReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Release `json:"items"`
}
