package web

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// View is everything that the page shows. It has no place for an object, a
// Secret or a URL with credentials; whoever fills it writes sentences.
type View struct {
	At           time.Time        `json:"at"`
	Branch       string           `json:"branch,omitempty"`
	Head         source.Revision  `json:"head,omitempty"`
	Policy       reconcile.Digest `json:"policyDigest,omitempty"`
	Polled       bool             `json:"polled"`                // the source was read at least once
	SourceReason promotion.Reason `json:"sourceReason,omitzero"` // why it cannot be read now
	SourceDetail string           `json:"sourceDetail,omitempty"`
	// PoliciesRefused is why the newest policies are not in force.
	PoliciesRefused string        `json:"policiesRefused,omitempty"`
	Notice          string        `json:"notice,omitempty"` // about this replica, such as that it stands by
	Environments    []Environment `json:"environments"`
}

// Environment is one line: where it is, why it is not elsewhere, and who can
// change that.
type Environment struct {
	ID       promotion.ID      `json:"id"`
	Phase    reconcile.Phase   `json:"phase"`
	Reason   promotion.Reason  `json:"reason"`
	Sentence string            `json:"sentence"`
	Unblock  string            `json:"unblock,omitempty"`
	Running  reconcile.Release `json:"running,omitzero"`
	Wanted   reconcile.Release `json:"wanted,omitzero"`
	LastGood reconcile.Release `json:"lastGood,omitzero"`
	Since    time.Time         `json:"since,omitzero"`
	// Overridden: a break-glass override let in what runs.
	Overridden bool `json:"overridden,omitempty"`
}

// clone keeps what is published apart from what its publisher goes on with.
func (v View) clone() *View {
	v.Environments = slices.Clone(v.Environments)
	if v.Environments == nil {
		v.Environments = []Environment{} // an empty list in JSON, not null
	}
	return &v
}

// Publish replaces the view. Requests under way finish with the one they began with.
func (s *Server) Publish(v View) { s.view.Store(v.clone()) }

// waitingFor is why the daemon is not ready, "" once it is. A source that
// cannot be read later on does not make it unready: it keeps serving what runs.
func (s *Server) waitingFor() string {
	switch v := s.view.Load(); {
	case v == nil:
		return "the state is not loaded yet"
	case !v.Polled:
		return "the source was not read yet"
	}
	return ""
}
