package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// token opens the Git server of the scripts. It is a canary, too.
const token = "token-canary-4b1d90"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"chaperone": func() { os.Exit(Main(os.Args[1:], System())) },
		"kustomize": kustomize,
	})
}

// kustomize is `kustomize build` by the library's own call.
func kustomize() {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // as the command does
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), os.Args[1])
	if err == nil {
		var text []byte
		if text, err = built.AsYaml(); err == nil {
			_, err = os.Stdout.Write(text)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Each script is what a person types, and what they read: results on standard
// output, errors on standard error, and the exit code.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return setUp(t, env) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "sample": sample, "fits": fits, "masked": masked, "kubeconfig": kubeconfig, "gitserver": serveGit(t),
			"revision": revision, "snippet": snippet,
		},
	})
}

func setUp(t *testing.T, env *testscript.Env) error {
	sources, err := filepath.Abs(filepath.Join("testdata", "repo"))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
		"HOME": filepath.Join(env.WorkDir, "home"), "KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": "",
		"SILENT": silent(t), "SOURCES": sources,
	} {
		env.Setenv(name, value)
	}
	return os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o700)
}

// silent is the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// exits runs a program and wants its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// sample copies testdata/repo, a repository in a nutshell, and commits it.
func sample(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sample DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(dir, os.DirFS(ts.Getenv("SOURCES"))))
	for _, command := range []string{
		"init -q --initial-branch=main", "config user.name Ada", "config user.email ada@example.org", "add -A", "commit -q -m sample",
	} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, strings.Fields(command)...)...))
	}
}

// fits wants every line of a file within a table's width, and no colour.
func fits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fits FILE")
	}
	text := ts.ReadFile(args[0])
	if text == "" {
		ts.Fatalf("%s is empty", args[0])
	}
	for line := range strings.SplitSeq(text, "\n") {
		if textWidth(line) > tableWidth || strings.Contains(line, "\x1b") {
			ts.Fatalf("%d columns, want at most %d, and no colour: %q", textWidth(line), tableWidth, line)
		}
	}
}

var variable = regexp.MustCompile(`\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// masked writes standard output to a file, with X for what differs from run to run.
func masked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: masked FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(variable.ReplaceAllString(ts.ReadFile("stdout"), "X")), 0o600))
}

// revision puts a commit's full hash into the environment.
func revision(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: revision VARIABLE COMMIT")
	}
	ts.Check(ts.Exec("git", "rev-parse", "--verify", args[1]+"^{commit}"))
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// kubeconfig writes one for a server's address.
func kubeconfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: kubeconfig FILE HOST:PORT")
	}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: "https://%s"}}]
users: [{name: ada, user: {token: %s}}]
contexts: [{name: here, context: {cluster: here, user: ada}}]
`, args[1], token)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(content), 0o600))
}

// serveGit serves a repository over HTTP, as $URL, to those who have the token
// that is then in $WORK/token.
func serveGit(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: gitserver REPO")
		}
		ts.Setenv("URL", gitserver.ServeHTTP(t, &gitserver.Repo{Dir: ts.MkAbs(args[0])}, token).URL)
		ts.Setenv("TOKEN", token)
		ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), "token"), []byte(token+"\n"), 0o600))
	}
}

// snippet writes the script of the README that holds a text, as it stands.
func snippet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snippet TEXT FILE")
	}
	content, err := os.ReadFile(filepath.Join(ts.Getenv("SOURCES"), "..", "..", "..", "..", "README.md"))
	ts.Check(err)
	for _, match := range fence.FindAllStringSubmatch(string(content), -1) {
		if strings.HasPrefix(match[2], "#!/bin/sh\n") && strings.Contains(match[2], args[0]) {
			ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(match[2]), 0o700))
			return
		}
	}
	ts.Fatalf("no script in the README with %q", args[0])
}
