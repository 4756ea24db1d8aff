package controlplane

import (
	"runtime/debug"
	_ "unsafe" // for linkname

	"k8s.io/component-base/version"
)

// Kubernetes takes its version from linker flags. A plain `go build` sets none and the API
// server would call itself v0.0.0, which clients that compare versions refuse.
//
//go:linkname gitVersion k8s.io/component-base/version.gitVersion
var gitVersion string

func init() {
	gitVersion = Version()
	if err := version.SetDynamicVersion(gitVersion); err != nil {
		//lint:panic because the version that was just written cannot differ from itself.
		panic(err)
	}
}

// Version is the Kubernetes release that this binary links.
func Version() string {
	const fallback = "v1.36.3"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fallback
	}
	for _, dep := range info.Deps {
		if dep.Path == "k8s.io/kubernetes" {
			return dep.Version
		}
	}
	return fallback
}
