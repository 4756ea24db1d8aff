package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/verify"
)

// smoke runs the smoke tests of one verification.
type smoke struct {
	c   *clusters
	env promotion.Environment
	set manifest.Set
	// of is the release, and when it was begun: with both, a daemon that goes on
	// after a crash takes up the Job that it has made, and the next attempt does not.
	of string
}

func (c *clusters) smoke(env promotion.Environment, set manifest.Set, begun time.Time) (*smoke, error) {
	digest, err := set.Digest()
	if err != nil {
		return nil, err
	}
	return &smoke{c, env, set, string(digest) + " " + begun.UTC().Format(time.RFC3339Nano)}, nil
}

// job is the name of a check's Job: as long as that of a CronJob may be, and what
// tells one verification from another.
func (s *smoke) job(check promotion.JobCheck) string {
	sum := sha256.Sum256([]byte(s.env.ID.String() + " " + check.Name + " " + s.of))
	return check.CronJob[:min(len(check.CronJob), 52)] + "-" + hex.EncodeToString(sum[:5])
}

// Begin implements verify.Jobs.
func (s *smoke) Begin(ctx context.Context, check promotion.JobCheck) (string, error) {
	on, err := s.c.For(ctx, s.env.Target)
	if err != nil {
		return "", err
	}
	uid, err := on.BeginSmoke(ctx, cluster.OwnerOf(s.env), cluster.Smoke{
		CronJob: check.CronJob, Job: s.job(check), Timeout: check.Timeout, Retries: check.Retries,
	})
	return uid, about(s.env.Target, err)
}

// Look implements verify.Jobs.
func (s *smoke) Look(ctx context.Context, check promotion.JobCheck, uid string) (*manifest.Object, error) {
	on, err := s.c.For(ctx, s.env.Target)
	if err != nil {
		return nil, err
	}
	o, err := on.LookSmoke(ctx, s.env.Target.Namespace, s.job(check), uid)
	return o, about(s.env.Target, err)
}

// Log implements verify.Jobs.
func (s *smoke) Log(ctx context.Context, check promotion.JobCheck, _ string) string {
	if check.Logs == 0 {
		return ""
	}
	on, err := s.c.For(ctx, s.env.Target)
	if err == nil {
		var text string
		if text, err = on.Log(ctx, s.env.Target.Namespace, s.job(check), check.Logs, s.set.Objects()); err == nil {
			return text
		}
	}
	return "no log: " + err.Error()
}

// hookWrote is what a hook that failed has written.
func hookWrote(err error) string {
	var h *cluster.HookLog
	if errors.As(err, &h) {
		return h.Log
	}
	return ""
}

// logOf is what the Jobs that did not pass have written, each under its name.
func logOf(report verify.Report) string {
	var told []string
	for _, r := range report.Checks {
		if r.Log != "" {
			told = append(told, r.Check+":\n"+r.Log)
		}
	}
	return strings.Join(told, "\n")
}
