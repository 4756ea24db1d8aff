package localcluster

import (
	"strings"
	"testing"
)

func TestKubectl(t *testing.T) {
	t.Parallel()
	c := Start(t)
	namespace := c.Namespace(t)
	out, err := c.Kubectl(t, "get", "namespace", namespace, "-o", "name")
	if err != nil || out != "namespace/"+namespace+"\n" {
		t.Errorf("get: %q, %v", out, err)
	}
	if out, err = c.Kubectl(t, "get", "configmap", "absent", "-n", namespace); err == nil || !strings.Contains(out, "NotFound") {
		t.Errorf("get of what is not there: %q, %v", out, err)
	}
	if out, err = c.Kubectl(t, "version"); err != nil || strings.Count(out, c.Version) != 2 {
		t.Errorf("version: %q, %v; want client and server of %s", out, err, c.Version)
	}
}
