package web

import (
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/testkit/gitea"
	"chaperone.dev/chaperone/internal/webhook"
)

// A real Gitea signs as we check, and somebody else's Gitea does not.
func TestHooksOfARealGitea(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a Gitea")
	}
	t.Parallel()
	type came struct {
		forge   webhook.Forge
		outcome HookOutcome
	}
	looks, counted := make(chan struct{}, 10), make(chan came, 10)
	h := NewHooks(HookOptions{
		Address: "127.0.0.1:0",
		Secrets: func() (webhook.Secrets, error) { return webhook.ParseSecrets([]byte(hookSecret)) },
		Look:    func() { looks <- struct{}{} },
		Counted: func(f webhook.Forge, o HookOutcome) { counted <- came{f, o} },
	})
	(&hooked{Hooks: h}).serve(t)
	owner := gitea.Start(t).Person(t, "owner")
	for _, secret := range []string{hookSecret, "another secret altogether"} {
		repository := owner.Repository(t)
		repository.Hook(t, "http://"+h.Addr().String()+HookPath, secret)
		repository.Commit(t, owner, gitea.Main, "", "file", "content of "+secret)
		want := came{webhook.Gitea, HookAccepted}
		if secret != hookSecret {
			want.outcome = HookUnauthenticated
		}
		select {
		case got := <-counted:
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("Gitea tells of nothing")
		}
	}
	if len(looks) != 1 {
		t.Errorf("%d looks, want 1", len(looks))
	}
}
