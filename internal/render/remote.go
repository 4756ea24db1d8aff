package render

import (
	"net/url"
	"strings"

	"sigs.k8s.io/kustomize/api/resource"
)

// remoteFile is kustomize's own test, which it makes before it looks for a
// file: what passes it is fetched over HTTP.
func remoteFile(p string) bool {
	u, err := url.Parse(p)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

// remoteRepository asks kustomize whether it would clone p. It does so before
// it looks for a directory of that name, so that one in the tree is no
// protection. Origin is the one exported door to that parser.
func remoteRepository(p string) bool {
	if len(p) >= 5 && strings.EqualFold(p[:5], "git::") {
		return true // kustomize would also complain to the process's log
	}
	return (&resource.Origin{}).Append(p).Repo != ""
}

// remoteSource tests the path of a generator's KEY=PATH.
func remoteSource(s string) bool {
	_, p, _ := strings.Cut(s, "=")
	return remoteFile(s) || remoteFile(p)
}

// pathFields are the fields of kustomize's built-in plugins, lower case, that
// name a file to read.
var pathFields = map[string]bool{
	"path": true, "paths": true, "targetfilepath": true, "files": true, "env": true, "envs": true, "valuesfile": true,
}

// remoteInPlugin finds an address where a plugin's configuration may name a
// file. Field names are compared as encoding/json does, without case.
func remoteInPlugin(value any, isPath bool) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, isPath && remoteSource(v)
	case []any:
		for _, item := range v {
			if address, found := remoteInPlugin(item, isPath); found {
				return address, true
			}
		}
	case map[string]any:
		for field, item := range v {
			if address, found := remoteInPlugin(item, isPath || isPathField(field)); found {
				return address, true
			}
		}
	}
	return "", false
}

func isPathField(field string) bool {
	for name := range pathFields {
		if strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}
