package localcluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// kubectlPatience bounds one kubectl command.
const kubectlPatience = 2 * time.Minute

// Kubectl runs the real kubectl of the cluster's release as its administrator,
// and returns what it printed on both outputs. The error is that of its exit
// code.
func (c *Cluster) Kubectl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kubectlPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, append([]string{"kubectl"}, args...)...)
	// Nothing of a person's own settings, and a cache that knows no other cluster.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "KUBERC=off", "KUBECACHEDIR="+t.TempDir(), "KUBECTL_APPLYSET=true")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}
