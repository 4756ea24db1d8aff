package render

import (
	"fmt"
	"strings"
)

// bigRepo is one overlay of n objects: half ConfigMaps, a quarter Services, a
// quarter Deployments that read two of the ConfigMaps and a common one.
func bigRepo(n int) files {
	f := files{"base/common.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: common}\ndata: {region: north}\n"}
	names := []string{"common.yaml"}
	add := func(name, content string) {
		f["base/"+name] = content
		names = append(names, name)
	}
	for i := range n / 4 {
		app := fmt.Sprintf("app-%04d", i)
		add(app+"-deployment.yaml", strings.NewReplacer("name: api", "name: "+app, "app: api", "app: "+app, "name: settings", "name: "+app+"-settings", "name: token", "name: common").Replace(bigDeployment))
		add(app+"-service.yaml", strings.NewReplacer("name: api", "name: "+app, "app: api", "app: "+app).Replace(service))
		for _, part := range []string{"settings", "files"} {
			if i > 0 || part == "settings" { // one is the common one
				add(app+"-"+part+".yaml", fmt.Sprintf(bigConfigMap, app, part, app, strings.Repeat("some line of a file\n    ", 10)))
			}
		}
	}
	f["base/kustomization.yaml"] = "resources:\n- " + strings.Join(names, "\n- ") + "\n"
	f["o/kustomization.yaml"] = "namespace: big\nresources: [../base]\nlabels:\n- pairs: {team: platform}\n"
	return f
}

const bigConfigMap = `apiVersion: v1
kind: ConfigMap
metadata:
  name: %s-%s
  labels: {app: %s}
data:
  LEVEL: info
  file: |
    %s
`

var bigDeployment = strings.Replace(deployment, "secretRef", "configMapRef", 1)
