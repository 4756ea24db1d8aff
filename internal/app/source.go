package app

import (
	"context"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/githubapp"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// repository is the controller's way to Git.
type repository struct {
	*gogit.Repository
	polled func(context.Context, source.Revision) // after a head was read
}

// controllerSource is what the other parts of this package need of it.
type controllerSource = controller.Source

// openSource makes the mirror. It does not need the server.
func (a *App) openSource(ctx context.Context) (*repository, error) {
	s := a.config.Source
	signing := gogit.Signing{KeyFile: a.config.Author.SigningKeyFile, PassphraseFile: a.config.Author.PassphraseFile}
	tokens, err := appTokens(s.GitHubApp)
	if err != nil {
		return nil, err
	}
	opened, err := gogit.Open(ctx, gogit.Options{
		URL: s.URL, Branch: s.Branch, CacheDir: s.CacheDir, Timeout: s.Timeout,
		Credentials: gogit.Credentials{
			TokenFile: s.TokenFile, Username: s.Username, SSHKeyFile: s.SSHKeyFile, KnownHostsFile: s.KnownHostsFile,
			SSHPassphraseFile: s.SSHPassphraseFile, PasswordFile: s.PasswordFile, Tokens: tokens,
		},
		Author: gogit.Author{Name: a.config.Author.Name, Email: a.config.Author.Email}, Logger: a.log,
		Signing: signing,
		Signers: gogit.Signers{OpenPGPFile: a.config.Signers.GPGKeyringFile, AllowedSigners: a.config.Signers.AllowedSignersFile},
	})
	if err != nil {
		return nil, err
	}
	a.later("source", func() error { opened.Close(); return nil })
	a.tellSigning(signing)
	return &repository{Repository: opened, polled: func(context.Context, source.Revision) {}}, nil
}

// appTokens is nil where there is no App.
func appTokens(given config.GitHubApp) (gogit.Tokens, error) {
	if given.ID == "" {
		return nil, nil
	}
	return githubapp.New(githubapp.Options{API: given.API, App: given.ID, Installation: given.Installation, KeyFile: given.KeyFile})
}

// tellSigning says at the start which key signs, or that commits wait for one:
// the file may still come.
func (a *App) tellSigning(signing gogit.Signing) {
	if signing.KeyFile == "" {
		return
	}
	key, err := signing.Key()
	if err != nil {
		a.log.Error("reverts and promotions cannot be signed, and are not written until they can be", "err", err)
		return
	}
	a.log.Info("reverts and promotions are signed", "key", key.Fingerprint())
}

// Poll implements controller.Source.
func (r *repository) Poll(ctx context.Context) (source.Revision, error) {
	head, err := r.Repository.Poll(ctx)
	if err != nil {
		return "", err
	}
	r.polled(ctx, head.Revision)
	return head.Revision, nil
}

// Snapshot implements controller.Source.
func (r *repository) Snapshot(revision source.Revision) (source.Snapshot, error) {
	return r.Repository.Snapshot(revision)
}

// Revert implements controller.Source.
func (r *repository) Revert(ctx context.Context, guilty source.Revision, note source.RevertNote) (controller.RevertResult, error) {
	done, err := r.Repository.Revert(ctx, gogit.RevertRequest{Guilty: guilty, Note: note})
	if err != nil {
		return controller.RevertResult{}, err
	}
	result := controller.RevertResult{Commit: done.Commit, Conflicts: done.Conflicts, Detail: done.Detail}
	outcomes := map[gogit.Outcome]struct {
		outcome reconcile.Outcome
		reason  promotion.Reason
	}{
		gogit.Reverted:              {reconcile.OutcomeDone, ""},
		gogit.AlreadyReverted:       {reconcile.OutcomeAlready, ""},
		gogit.NothingToRevert:       {reconcile.OutcomeAlready, ""},
		gogit.Conflict:              {reconcile.OutcomeConflict, promotion.RevertConflict},
		gogit.Rejected:              {reconcile.OutcomeRejected, promotion.RevertRejected},
		gogit.RefusedRevertOfRevert: {reconcile.OutcomeFailed, promotion.RevertOfRevert},
	}
	known, found := outcomes[done.Outcome]
	if !found {
		known.outcome, known.reason = reconcile.OutcomeFailed, promotion.RevertRejected
	}
	result.Outcome, result.Reason = known.outcome, known.reason
	return result, nil
}

// Propose implements controller.Source.
func (r *repository) Propose(ctx context.Context, id promotion.ID, file string, note source.PromoteNote) (controller.ProposeResult, error) {
	done, err := r.Repository.Propose(ctx, gogit.ProposeRequest{Environment: id.String(), File: file, To: note.To, Note: note})
	return proposed(done), err
}

// Withdraw implements controller.Source.
func (r *repository) Withdraw(ctx context.Context, id promotion.ID) (controller.ProposeResult, error) {
	done, err := r.Repository.Withdraw(ctx, id.String())
	if err == nil && done.Outcome == gogit.Foreign {
		return controller.ProposeResult{Outcome: reconcile.OutcomeAlready, Detail: done.Detail}, nil // nothing of ours is there
	}
	return proposed(done), err
}

// OfferRevert implements controller.RevertBranches.
func (r *repository) OfferRevert(ctx context.Context, guilty source.Revision, note source.RevertNote) (controller.ProposeResult, error) {
	done, err := r.Repository.OfferRevert(ctx, gogit.RevertRequest{Guilty: guilty, Note: note})
	return proposed(done), err
}

// proposed says what a promotion branch's outcome means: is it there, was there
// nothing to do, or does somebody stand in the way?
func proposed(done gogit.ProposeResult) controller.ProposeResult {
	result := controller.ProposeResult{Outcome: reconcile.OutcomeRejected, Commit: done.Commit, Detail: done.Detail}
	switch done.Outcome {
	case gogit.Proposed, gogit.Current, gogit.Withdrawn:
		result.Outcome = reconcile.OutcomeDone
	case gogit.Obsolete, gogit.Absent:
		result.Outcome = reconcile.OutcomeAlready
	case gogit.Foreign:
		result.Detail = "branch " + done.Branch + " holds other people's commits, which are never overwritten; " + done.Detail
	}
	return result
}
