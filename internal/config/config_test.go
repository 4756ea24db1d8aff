package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/strictyaml"
)

const canary = "canary-7d1f"

func content(lines ...string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

func TestDefaultsAreComplete(t *testing.T) {
	t.Parallel()
	got, err := Load(Input{Flags: map[string]string{"source-url": "/srv/git"}})
	want := Config{
		Source: Source{URL: "/srv/git", Branch: "main", PollInterval: 30 * time.Second, Jitter: 0.1, Timeout: 2 * time.Minute,
			CacheDir: "/var/cache/chaperone", Username: "git", GitHubApp: GitHubApp{API: "https://api.github.com"}},
		Policies: Policies{Directory: DefaultPolicies, Branch: "main", Path: "policies", PollInterval: time.Minute, Username: "git",
			GitHubApp: GitHubApp{API: "https://api.github.com"}}, Namespace: "chaperone-system", Listen: ":8080", Webhook: Webhook{Listen: ":8081"}, LeaderElection: true,
		Forge:  Forge{Previews: PreviewsAll},
		Author: Author{Name: "Chaperone", Email: "chaperone@localhost"}, Workers: 4, Log: Log{Level: "info", Format: "auto"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestPoliciesOfARepository(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: "chaperone.yaml", Content: content("source: {url: /srv/git}",
		"policies: {url: 'https://git.example.org/p', githubAppID: 1, githubInstallationID: 2, githubKeyFile: /g, githubAPI: 'https://git.example.org/api/v3', sshKeyFile: /k, sshPassphraseFile: /s}")})
	if err != nil || c.Policies.GitHubApp != (GitHubApp{"1", "2", "/g", "https://git.example.org/api/v3"}) || c.Policies.SSHPassphraseFile != "/s" {
		t.Errorf("%+v, %v", c.Policies, err)
	}
	c, err = Load(Input{Flags: map[string]string{"source-url": "/srv/git", "policies-url": "https://git.example.org/p", "policies-password-file": "/p"}})
	if err != nil || c.Policies.PasswordFile != "/p" {
		t.Errorf("%+v, %v", c.Policies, err)
	}
}

func TestEveryFieldHasASetting(t *testing.T) {
	t.Parallel()
	file := content("source:", "  url: https://git.example.org/x.git", "  branch: live", "  pollInterval: 1d", "  jitter: 0.5",
		"  timeout: 9s", "  cacheDir: /c", "  username: oauth2", "  sshKeyFile: /k", "  knownHostsFile: /h", "  sshPassphraseFile: /s", "  githubAppID: 1", "  githubInstallationID: 2", "  githubKeyFile: /g",
		"forge: {kind: gitea, url: 'https://git.example.org', repository: a/b, tokenFile: /t}",
		"signers: {gpgKeyringFile: /g, allowedSignersFile: /a}",
		"policies: {directory: /p, branch: b, path: p, keyFile: /k, pollInterval: 9s, tokenFile: /t, username: u, sshKeyFile: /s, knownHostsFile: /h}",
		"namespace: ops", "listen: 127.0.0.1:0", "webhook: {secretFile: /w}", "kubeconfig: /kc", "context: ctx", "leaderElection: false",
		"author: {name: A Robot, email: robot@example.org, signingKeyFile: /k, passphraseFile: /p}", "verify: {proxy: 'http://u:"+canary+"@proxy:3128', prometheus: 'https://p:9090', prometheusTokenFile: /t, prometheusCAFile: /c}", "workers: 7",
		"groups: {release-managers: [alex@example.org]}", "people: {alex: [alex@example.org]}", "log: {level: debug, format: json}")
	c, err := Load(Input{File: "chaperone.yaml", Content: file})
	if err != nil {
		t.Fatal(err)
	}
	// Each excludes directory; TestFaults has them.
	c.Policies.FromSource, c.Policies.URL, c.Policies.Archive = true, "/p", "/p.tar.gz"
	c.Source.TokenFile, c.Source.PasswordFile = "/t", "/p"             // and so do these
	c.Policies.PasswordFile, c.Policies.SSHPassphraseFile = "/p", "/s" // TestPoliciesOfARepository has these
	c.Policies.GitHubApp = c.Source.GitHubApp
	c.LeaderElection = true // false is the zero value
	checkNoZero(t, "Config", reflect.ValueOf(c))
	if c.Verify.Proxy.Reveal() != "http://u:"+canary+"@proxy:3128" || c.Source.PollInterval != 24*time.Hour {
		t.Error("wrong value")
	}
}

func checkNoZero(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		field := name + "." + v.Type().Field(i).Name
		if v.Field(i).Kind() == reflect.Struct {
			checkNoZero(t, field, v.Field(i))
		} else if v.Field(i).IsZero() {
			t.Errorf("%s: no setting reaches it", field)
		}
	}
}

func TestNamesFollowFromTheKey(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	for _, s := range Settings() {
		names[s.Key] = s.Flag() + " " + s.Env()
		if s.Usage == "" || s.Flag() == FlagFile || s.Flag() == FlagSettings {
			t.Errorf("%s: want a usage, and a flag of its own", s.Key)
		}
		if serviceLink.MatchString(s.Env()) {
			t.Errorf("%s: Kubernetes may set %s by itself", s.Key, s.Env())
		}
	}
	for key, want := range map[string]string{
		"source.url":          "source-url CHAPERONE_SOURCE_URL",
		"source.pollInterval": "source-poll-interval CHAPERONE_SOURCE_POLL_INTERVAL",
		"source.sshKeyFile":   "source-ssh-key-file CHAPERONE_SOURCE_SSH_KEY_FILE",
		"policies.fromSource": "policies-from-source CHAPERONE_POLICIES_FROM_SOURCE",
		"leaderElection":      "leader-election CHAPERONE_LEADER_ELECTION",
	} {
		if names[key] != want {
			t.Errorf("%s: got %s, want %s", key, names[key], want)
		}
	}
}

// The stronger place wins, whichever of them give the setting.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, want := Input{}, "main"
		if rapid.Bool().Draw(t, "file") {
			in.Content, want = content("source: {branch: file}"), "file"
		}
		if rapid.Bool().Draw(t, "mounted") {
			in.Mounted, want = map[string][]byte{"source.branch": []byte("mounted\n"), "..data": nil}, "mounted"
		}
		if rapid.Bool().Draw(t, "environ") {
			in.Environ, want = []string{"PATH=/bin", "CHAPERONE_SOURCE_BRANCH=environ"}, "environ"
		}
		in.Flags = map[string]string{"source-url": "/srv/git"}
		if rapid.Bool().Draw(t, "flag") {
			in.Flags["source-branch"], want = "flag", "flag"
		}
		if c, err := Load(in); err != nil || c.Source.Branch != want {
			t.Fatalf("%+v: got %s, %v, want %s", in, c.Source.Branch, err, want)
		}
	})
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	environ := []string{"CHAPERONE_CONFIG=/e.yaml", "CHAPERONE_SETTINGS=/e", "CHAPERONE_LOCALCLUSTER=/bin/x"}
	for _, test := range []struct {
		flags          map[string]string
		environ        []string
		file, settings string
	}{
		{nil, nil, "", ""},
		{nil, environ, "/e.yaml", "/e"},
		{map[string]string{"config": "/f.yaml"}, environ, "/f.yaml", "/e"},
		{map[string]string{"settings": "/f"}, nil, "", "/f"},
	} {
		if file, settings := Places(test.flags, test.environ); file != test.file || settings != test.settings {
			t.Errorf("%v %v: got %q and %q", test.flags, test.environ, file, settings)
		}
	}
	if _, err := Load(Input{Flags: map[string]string{"source-url": "/g", "config": "/f.yaml"}, Environ: environ}); err != nil {
		t.Errorf("the places themselves are no settings: %v", err)
	}
}

//lint:long because it is one table: every fault with its message
func TestFaultsNameTheirPlaceAndTheFix(t *testing.T) {
	t.Parallel()
	file := func(lines ...string) Input { return Input{File: "chaperone.yaml", Content: content(lines...)} }
	environ := func(entries ...string) Input { return Input{Environ: entries} }
	for _, test := range []struct {
		name string
		in   Input
		want string
	}{
		{"no url", Input{}, "source.url: missing; want the repository to follow"},
		{"file, unknown", file("sources: {}"), `chaperone.yaml:1:1: sources: unknown field; did you mean "source"?`},
		{"file, unknown inside", file("source:", "  pollinterval: 1m"), `chaperone.yaml:2:3: source.pollinterval: unknown field; did you mean "pollInterval"?`},
		{"file, not a group", file("source: /srv/git"), "chaperone.yaml:1:9: source: want a mapping of fields, not a text"},
		{"file, not a value", file("source: {url: [a]}"), "chaperone.yaml:1:10: source.url: want one value, not a list"},
		{"file, bad value", file("source:", "  pollInterval: 30"), `chaperone.yaml:2:17: source.pollInterval: want a duration such as 30s, 15m, 12h or 90d, not "30"`},
		{"file, two faults", file("workers: many", "log: {level: loud}"), "chaperone.yaml:1:10: workers: want a whole number between 1 and 64, not \"many\"\n" +
			`chaperone.yaml:2:14: log.level: "loud" is not known; want one of debug, info, warn or error`},
		{"file, not YAML", file("source: ["), "chaperone.yaml:1: not YAML"},
		{"mounted, unknown", Input{Settings: "/s", Mounted: map[string][]byte{"source.branche": nil}}, `/s/source.branche: unknown setting; did you mean "source.branch"?`},
		{"mounted, bad value", Input{Settings: "/s", Mounted: map[string][]byte{"listen": []byte("8080")}}, `/s/listen: want host:port or :port, such as :8080, not "8080"`},
		{"environ, unknown", environ("CHAPERONE_SOURCE_BRANCHES=a"), `CHAPERONE_SOURCE_BRANCHES: unknown setting; did you mean "CHAPERONE_SOURCE_BRANCH"?`},
		{"environ, far", environ("CHAPERONE_X=1"), "CHAPERONE_X: unknown setting; `chaperone run --help` lists them"},
		{"environ, bad value", environ("CHAPERONE_LEADER_ELECTION=yes"), `CHAPERONE_LEADER_ELECTION: want true or false, not "yes"`},
		{"flag, bad value", Input{Flags: map[string]string{"source-timeout": "1000h"}}, `--source-timeout: want between 1s and 1h, not "1000h"`},
		{"flag, unknown", Input{Flags: map[string]string{"sourceurl": "x"}}, `--sourceurl: unknown setting; did you mean "source-url"?`},
		{"jitter", environ("CHAPERONE_SOURCE_JITTER=NaN"), `CHAPERONE_SOURCE_JITTER: want a share between 0 and 1, such as 0.1 or "10%"`},
		{"branch", environ("CHAPERONE_SOURCE_BRANCH=refs/heads/main"), "CHAPERONE_SOURCE_BRANCH: want the name of a branch, such as main"},
		{"namespace", environ("CHAPERONE_NAMESPACE=Ops"), "CHAPERONE_NAMESPACE: want the name of a namespace"},
		{"email", environ("CHAPERONE_AUTHOR_EMAIL=<a@b>"), "CHAPERONE_AUTHOR_EMAIL: want one line without < and >"},
		{"empty name", file("author: {name: ' '}"), "chaperone.yaml:1:16: author.name: want a text that is not empty"},
		{"both policies", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_FROM_SOURCE=true", "CHAPERONE_POLICIES_DIRECTORY=/p"), "policies: want either directory, fromSource, url or archive"},
		{"two places", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=/p", "CHAPERONE_POLICIES_ARCHIVE=/p", "CHAPERONE_POLICIES_KEY_FILE=/k"), "policies: want either directory, fromSource, url or archive"},
		{"archive without key", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_ARCHIVE=oci://r/p:v1"), "policies.keyFile: missing"},
		{"policies over ssh", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=git@example.org:p.git", "CHAPERONE_POLICIES_KNOWN_HOSTS_FILE=/h"), "policies.sshKeyFile: missing"},
		{"token of policies in clear", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=http://example.org/p.git", "CHAPERONE_POLICIES_TOKEN_FILE=/t"), "policies.tokenFile: the token would travel unencrypted"},
		{"path of policies", environ("CHAPERONE_POLICIES_PATH=../p"), "CHAPERONE_POLICIES_PATH: want a directory in the repository"},
		{"url scheme", environ("CHAPERONE_SOURCE_URL=ftp://" + canary + "/"), "CHAPERONE_SOURCE_URL: want https://host/path"},
		{"url, token as user", environ("CHAPERONE_SOURCE_URL=https://" + canary + "@example.org/"), "CHAPERONE_SOURCE_URL: credentials do not belong in the address"},
		{"url, password", environ("CHAPERONE_SOURCE_URL=ssh://git:" + canary + "@example.org/"), "CHAPERONE_SOURCE_URL: credentials do not belong in the address"},
		{"url, unreadable", environ("CHAPERONE_SOURCE_URL=https://" + canary + ":x\x7f@example.org/"), "CHAPERONE_SOURCE_URL: want https://host/path"},
		{"proxy", environ("CHAPERONE_VERIFY_PROXY=" + canary), "CHAPERONE_VERIFY_PROXY: want http://host:port"},
		{"two secrets", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_SOURCE_TOKEN_FILE=/t", "CHAPERONE_SOURCE_PASSWORD_FILE=/p"), "source: want either tokenFile, passwordFile or githubAppID"},
		{"two secrets for policies", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=https://h/p", "CHAPERONE_POLICIES_TOKEN_FILE=/t", "CHAPERONE_POLICIES_PASSWORD_FILE=/p"), "policies: want either tokenFile, passwordFile or githubAppID"},
		{"half an App for policies", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=https://h/p", "CHAPERONE_POLICIES_GITHUB_APP_ID=1", "CHAPERONE_POLICIES_GITHUB_KEY_FILE=/k"), "policies.githubInstallationID: missing"},
		{"a password for no policies", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_PASSWORD_FILE=/p"), "policies.url: missing; want the repository"},
		{"a passphrase for no key of policies", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=https://h/p", "CHAPERONE_POLICIES_SSH_PASSPHRASE_FILE=/p"), "policies.sshKeyFile: missing"},
		{"a password for policies in the clear", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_POLICIES_URL=http://h/p", "CHAPERONE_POLICIES_PASSWORD_FILE=/p"), "policies.url: password or token would travel unencrypted"},
		{"half an App", environ("CHAPERONE_SOURCE_URL=https://h/g", "CHAPERONE_SOURCE_GITHUB_APP_ID=1", "CHAPERONE_SOURCE_GITHUB_KEY_FILE=/k"), "source.githubInstallationID: missing"},
		{"an App without ID", environ("CHAPERONE_SOURCE_URL=https://h/g", "CHAPERONE_SOURCE_GITHUB_KEY_FILE=/k"), "source.githubAppID: missing; want the App that source.githubKeyFile is for"},
		{"an App over ssh", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_SOURCE_GITHUB_APP_ID=1", "CHAPERONE_SOURCE_GITHUB_KEY_FILE=/k", "CHAPERONE_SOURCE_GITHUB_INSTALLATION_ID=2"), "source.githubAppID: its tokens are for https"},
		{"an App's name", environ("CHAPERONE_SOURCE_GITHUB_APP_ID=me"), "CHAPERONE_SOURCE_GITHUB_APP_ID: want a number, as GitHub shows it"},
		{"an API in clear", environ("CHAPERONE_SOURCE_GITHUB_API=http://api.example.org"), "CHAPERONE_SOURCE_GITHUB_API: tokens would travel unencrypted"},
		{"a password in clear", environ("CHAPERONE_SOURCE_URL=http://example.org/x.git", "CHAPERONE_SOURCE_PASSWORD_FILE=/t"), "source.url: password or token would travel unencrypted"},
		{"a key's passphrase alone", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_SOURCE_SSH_PASSPHRASE_FILE=/p"), "source.sshKeyFile: missing"},
		{"a passphrase alone", environ("CHAPERONE_SOURCE_URL=/g", "CHAPERONE_AUTHOR_PASSPHRASE_FILE=/p"), "author.signingKeyFile: missing; want the private key"},
		{"ssh without key", environ("CHAPERONE_SOURCE_URL=git@example.org:x.git", "CHAPERONE_SOURCE_KNOWN_HOSTS_FILE=/h"), "source.sshKeyFile: missing"},
		{"ssh without host keys", environ("CHAPERONE_SOURCE_URL=ssh://git@example.org/x.git", "CHAPERONE_SOURCE_SSH_KEY_FILE=/k"), "source.knownHostsFile: missing"},
		{"token in clear", environ("CHAPERONE_SOURCE_URL=http://example.org/x.git", "CHAPERONE_SOURCE_TOKEN_FILE=/t"), "source.tokenFile: the token would travel unencrypted"},
	} {
		c, err := Load(test.in)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || !reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s:\n got %v\nwant %s", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: shows a secret: %v", test.name, err)
		}
	}
}

func TestGoodAddresses(t *testing.T) {
	t.Parallel()
	key := []string{"CHAPERONE_SOURCE_SSH_KEY_FILE=/k", "CHAPERONE_SOURCE_KNOWN_HOSTS_FILE=/h", "CHAPERONE_SOURCE_TOKEN_FILE=/t"}
	for _, address := range []string{
		"/srv/git", "relative/dir", "file:///srv/git", "https://example.org/x.git", "http://127.0.0.1:8080/x.git", "http://[::1]:1/x",
		"ssh://git@example.org:2222/x.git", "git@example.org:x.git", "example.org:x.git",
	} {
		if _, err := Load(Input{Environ: append([]string{"CHAPERONE_SOURCE_URL=" + address}, key...)}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What the installation ships must be what the daemon reads.
func TestTheInstalledConfiguration(t *testing.T) {
	t.Parallel()
	const file = "../../base/chaperone/config.yaml"
	installed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Input{File: file, Content: installed}); err != nil {
		t.Error(err)
	}
}

// So must what its components add.
func TestTheSettingsOfTheWebhookComponent(t *testing.T) {
	t.Parallel()
	component, err := os.ReadFile("../../base/chaperone/components/webhook/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\{name: (CHAPERONE_\w+), value: (\S+)\}`).FindSubmatch(component)
	if found == nil {
		t.Fatalf("it sets nothing:\n%s", component)
	}
	c, err := Load(Input{Environ: []string{"CHAPERONE_SOURCE_URL=/g", string(found[1]) + "=" + string(found[2])}})
	if err != nil || c.Webhook != (Webhook{Listen: ":8081", SecretFile: string(found[2])}) {
		t.Errorf("%+v, %v", c.Webhook, err)
	}
}

// A Service named chaperone in the namespace must not stop the daemon.
func TestServiceLinksAreNoSettings(t *testing.T) {
	t.Parallel()
	_, err := Load(Input{Environ: []string{
		"CHAPERONE_SOURCE_URL=/g", "CHAPERONE_SERVICE_HOST=10.0.0.1", "CHAPERONE_SERVICE_PORT=80", "CHAPERONE_SERVICE_PORT_HTTP=80",
		"CHAPERONE_PORT=tcp://10.0.0.1:80", "CHAPERONE_PORT_80_TCP=tcp://10.0.0.1:80", "CHAPERONE_PORT_80_TCP_PROTO=tcp",
		"CHAPERONE_WEB_SERVICE_HOST=10.0.0.1", "CHAPERONE_WEB_PORT_80_TCP_ADDR=10.0.0.1", "CHAPERONE_LISTEN=",
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{Environ: []string{"CHAPERONE_SOURCE_URL=/g", "CHAPERONE_VERIFY_PROXY=http://u:" + canary + "@p:1"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", c, &c, c.Verify.Proxy)
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("configured", "config", c, "proxy", c.Verify.Proxy)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	hex := fmt.Sprintf("%x", canary)
	if text := out.String(); strings.Contains(text, canary) || strings.Contains(text, hex) || strings.Count(text, "<secret>") < 20 {
		t.Errorf("%d times <secret> in:\n%s", strings.Count(text, "<secret>"), text)
	}
	if Secret("").String() != "" {
		t.Error("no secret is no secret")
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	before, err := Load(Input{Flags: map[string]string{"source-url": "/g"}})
	if err != nil {
		t.Fatal(err)
	}
	after := before
	after.Verify.Proxy, after.Workers, after.Source.Jitter = canary, 5, 0.2
	if got := Changed(before, after); !slices.Equal(got, []string{"source.jitter", "verify.proxy", "workers"}) {
		t.Errorf("got %v", got)
	}
	if got := Changed(before, before); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("source: {url: /g}\n"), "CHAPERONE_WORKERS=3", "listen", ":1")
	f.Add([]byte("x: [\n"), "CHAPERONE_SOURCE_URL=https://u:p@h", "log.level", "")
	f.Fuzz(func(t *testing.T, file []byte, entry, name, text string) {
		c, err := Load(Input{Content: file, Environ: []string{entry}, Mounted: map[string][]byte{name: []byte(text)}})
		var problems strictyaml.Problems
		if err == nil && (c.Source.URL == "" || c.Workers < 1 || c.Source.PollInterval < time.Second) {
			t.Fatalf("got %+v", c)
		}
		if err != nil && errors.As(err, &problems) && len(problems) == 0 {
			t.Fatal("an error without a problem")
		}
	})
}
