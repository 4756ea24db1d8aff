package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server that answers no is not taken for an empty one.
func TestAnswersOfTheCluster(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   string
		want   []string
	}{
		{http.StatusNotFound, "404 page not found", []string{"the cluster knows no environments; is the daemon installed there (base/chaperone)?"}},
		{http.StatusUnauthorized, status("Unauthorized", "Unauthorized"), []string{"Unauthorized"}},
		{http.StatusForbidden, status("Forbidden", "environments.chaperone.dev is forbidden"), []string{"environments.chaperone.dev is forbidden"}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		}))
		t.Cleanup(server.Close)
		file := filepath.Join(t.TempDir(), "kubeconfig")
		content := `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
  users: [{name: u, user: {token: ` + canary + `}}], clusters: [{name: c, cluster: {server: "` + server.URL + `"}}]}`
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"status"}, {"why", "shop/staging"}, {"history", "shop/staging"}} {
			code, out, complaints := run(t, Streams{}, append(args, "--kubeconfig", file)...)
			if code != exitUnreachable || out != "" || strings.Contains(complaints, canary) {
				t.Errorf("%d: %s: exit code %d\n%s%s", test.status, args, code, out, complaints)
			}
			for _, want := range test.want {
				if !strings.Contains(complaints, want) {
					t.Errorf("%d: %s: no %q in %q", test.status, args, want, complaints)
				}
			}
		}
	}
}

func status(reason, message string) string {
	return `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"` + reason + `","message":"` + message + `"}`
}
