package state

// The deepcopy functions and the CRDs are generated; the CRDs are embedded
// here so that the demo and the tests install just what base/chaperone does.
//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0 object paths=./v1alpha1
//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0 crd:crdVersions=v1 paths=./v1alpha1 output:crd:dir=crds
//go:generate cp crds/chaperone.dev_environments.yaml ../../base/chaperone/crds/environments.yaml
//go:generate cp crds/chaperone.dev_releases.yaml ../../base/chaperone/crds/releases.yaml
