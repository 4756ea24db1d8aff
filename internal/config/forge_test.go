package config

import (
	"strings"
	"testing"
)

func TestForgeFollowsFromTheSource(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]Forge{
		"https://git.example.org/shop/deploy.git":        {URL: "https://git.example.org", Repository: "shop/deploy"},
		"https://example.org:8443/git/shop/deploy":       {URL: "https://example.org:8443/git", Repository: "shop/deploy"},
		"git@git.example.org:shop/deploy.git":            {URL: "https://git.example.org", Repository: "shop/deploy"},
		"ssh://git@git.example.org:2222/shop/deploy.git": {URL: "https://git.example.org", Repository: "shop/deploy"},
	} {
		flags := map[string]string{"source-url": source, "forge-kind": "gitea", "source-token-file": "/token"}
		if strings.Contains(source, "@") {
			flags["source-ssh-key-file"], flags["source-known-hosts-file"] = "/key", "/hosts"
		}
		c, err := Load(Input{Flags: flags})
		want.Kind, want.TokenFile, want.Previews = "gitea", "/token", PreviewsAll
		if err != nil || c.Forge != want {
			t.Errorf("%s: %+v, %v; want %+v", source, c.Forge, err, want)
		}
	}
	for kind, want := range map[string]Forge{
		"github": {"github", "https://git.example.org/a", "b/c", "/t", PreviewsAll},
		"gitlab": {"gitlab", "https://git.example.org", "a/b/c", "/t", PreviewsAll},
	} {
		c, err := Load(Input{Flags: map[string]string{"source-url": "https://git.example.org/a/b/c.git", "forge-kind": kind, "source-token-file": "/t"}})
		if err != nil || c.Forge != want {
			t.Errorf("%s: %+v, %v; want %+v", kind, c.Forge, err, want)
		}
	}
	c, err := Load(Input{Flags: map[string]string{"source-url": "/srv/deploy.git", "forge-kind": "gitea", "forge-url": "https://f", "forge-repository": "a/b", "forge-token-file": "/t"}})
	if err != nil || c.Forge != (Forge{"gitea", "https://f", "a/b", "/t", PreviewsAll}) {
		t.Errorf("%+v, %v", c.Forge, err)
	}
}

// An App's tokens are for pull requests as well, where the forge is a GitHub and
// has no token of its own.
func TestForgeUsesTheSourcesApp(t *testing.T) {
	t.Parallel()
	flags := map[string]string{"source-url": "https://github.com/shop/deploy", "forge-kind": "github",
		"source-github-app-id": "1", "source-github-installation-id": "2", "source-github-key-file": "/key"}
	c, err := Load(Input{Flags: flags})
	if err != nil || c.Forge.TokenFile != "" {
		t.Errorf("%+v, %v", c.Forge, err)
	}
	flags["forge-token-file"] = "/t"
	if c, err = Load(Input{Flags: flags}); err != nil || c.Forge.TokenFile != "/t" {
		t.Errorf("beside a token of its own: %+v, %v", c.Forge, err)
	}
	delete(flags, "forge-token-file")
	flags["forge-kind"] = "gitea"
	if _, err = Load(Input{Flags: flags}); err == nil || !strings.Contains(err.Error(), "forge.tokenFile: missing") {
		t.Errorf("on a Gitea: %v", err)
	}
}

func TestForgeThatIsIncomplete(t *testing.T) {
	t.Parallel()
	for want, flags := range map[string]map[string]string{
		"forge.kind: missing":       {"forge-repository": "a/b"},
		"forge.url: missing":        {"source-url": "/srv/deploy.git", "forge-kind": "gitea", "forge-repository": "a/b", "forge-token-file": "/t"},
		"forge.repository: missing": {"source-url": "https://git.example.org/deploy.git", "forge-kind": "gitea", "forge-token-file": "/t"},
		"forge.tokenFile: missing":  {"forge-kind": "gitea"},
		"want owner/name":           {"forge-kind": "gitea", "forge-repository": "a/b/c", "forge-token-file": "/t"},
		"would travel unencrypted":  {"forge-kind": "gitea", "forge-url": "http://git.example.org", "forge-token-file": "/t"},
		"credentials do not belong": {"forge-kind": "gitea", "forge-url": "https://a:canary@git.example.org"},
		"forge-kind":                {"forge-kind": "gitee"},
	} {
		if flags["source-url"] == "" {
			flags["source-url"] = "https://git.example.org/shop/deploy.git"
		}
		if _, err := Load(Input{Flags: flags}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v; want %q", flags, err, want)
		}
	}
}
