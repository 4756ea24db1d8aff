package app

import (
	"testing"

	"chaperone.dev/chaperone/internal/config"
)

func TestOpenForge(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{config.KindGitHub, config.KindGitLab, config.KindGitea} {
		made, err := openForge(config.Forge{Kind: kind, URL: "https://git.example.org", Repository: "shop/deploy", TokenFile: "/none"})
		if err != nil || made == nil {
			t.Errorf("%s: %v, %v", kind, made, err)
		}
		made, err = openForge(config.Forge{Kind: kind, URL: "https://git.example.org", Repository: "deploy", TokenFile: "/none"})
		if err == nil || made != nil {
			t.Errorf("%s: of no owner: %v, %v", kind, made, err)
		}
	}
	if made, err := openForge(config.Forge{}); made != nil || err != nil {
		t.Errorf("none: %v, %v", made, err)
	}
}
