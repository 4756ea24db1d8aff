package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

type object = manifest.Object

// facts is what a document of kind PolicyInput in an example may say; all else
// stays as exampleInput has it.
type facts struct {
	APIVersion  string             `json:"apiVersion"`
	Kind        string             `json:"kind"`
	Environment policy.Environment `json:"environment"`
	Release     policy.Release     `json:"release"`
	Upstream    []policy.Upstream  `json:"upstream"`
	Pipeline    []policy.Neighbour `json:"pipeline"`
	LastGood    policy.LastGood    `json:"lastGood"`
	Approval    policy.Agreement   `json:"approval"`
	Evidence    *evidence.Facts    `json:"evidence"`
	Now         time.Time          `json:"now"`
	Params      map[string]any     `json:"params"` // in place of those in data.params
}

// exampleInput is the environment that examples are judged in: production, with
// the most protected data that the rule is about.
func exampleInput(r *rule) facts {
	f := facts{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, class := range []promotion.Data{promotion.DataSynthetic, promotion.DataAnonymized, promotion.DataPHI} {
		if slices.Contains(r.Data, class) {
			f.Environment.Data = class
		}
	}
	f.Environment.Pipeline, f.Environment.Name = "example", "production"
	staging := promotion.ID{Pipeline: "example", Name: "staging"}
	f.Environment.After = []promotion.ID{staging}
	f.Upstream = []policy.Upstream{{Environment: staging, State: policy.StateNone}}
	f.Pipeline = []policy.Neighbour{{Environment: staging, Name: "staging", Data: promotion.DataAnonymized, Order: policy.OrderBefore,
		Mode: promotion.ModePullRequest, Checks: 1, State: policy.StateNone}}
	f.LastGood.State, f.Approval.State = policy.StateNone, policy.ApprovalProposed
	f.Environment.Promotion.Mode = promotion.ModePullRequest
	f.Environment.Target.Namespace = "example"
	return f
}

// readExample reads manifests, and at most one PolicyInput among them. What it
// gives beside the input are the parameters that the example depends on.
func readExample(r *rule, example file) (policy.Input, map[string]any, error) {
	objects, err := manifest.Decode(example.name, example.content)
	if err != nil {
		return policy.Input{}, nil, err
	}
	f := exampleInput(r)
	inputs := 0
	objects = slices.DeleteFunc(objects, func(o *object) bool {
		if o.GetAPIVersion() != "chaperone.dev/v1alpha1" || o.GetKind() != "PolicyInput" {
			return false
		}
		if inputs++; err == nil {
			err = decodeFacts(o, &f)
		}
		return true
	})
	if err == nil && inputs > 1 {
		err = fmt.Errorf("%d documents of kind PolicyInput; want at most one", inputs)
	}
	if err != nil {
		return policy.Input{}, nil, fmt.Errorf("%s:1: %w", example.name, err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		return policy.Input{}, nil, fmt.Errorf("%s:1: %w", example.name, err)
	}
	f.Environment.ID = promotion.ID{Pipeline: f.Environment.Pipeline, Name: f.Environment.Name}
	// Marks of secret values need no secrecy here: examples are public.
	target := promotion.Environment{Target: promotion.Target{Kubeconfig: f.Environment.Target.Kubeconfig, Namespace: f.Environment.Target.Namespace}}
	in := policy.NewInput(target, set, f.Release, f.Upstream, f.Now, manifest.NewRedactor([]byte("examples of policies")))
	in.Environment, in.Pipeline, in.LastGood, in.Approval, in.Evidence = f.Environment, f.Pipeline, f.LastGood, f.Approval, f.Evidence
	return in, f.Params, nil
}

func decodeFacts(o *object, f *facts) error {
	encoded, err := json.Marshal(o.Object)
	if err != nil {
		return fmt.Errorf("read PolicyInput: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(f); err != nil {
		return fmt.Errorf("read PolicyInput: %w", err)
	}
	return nil
}
