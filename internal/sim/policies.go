package sim

import (
	"context"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// policyState is the bundle in force, and those before it.
type policyState struct {
	version int
	gone    bool            // no bundle could be loaded
	denied  map[string]bool // values of configurations that the present bundle denies
	changed map[int]func()  // by life: tells it that the bundle changed
	judged  map[judgement]bool
	// judgedSets are those that were given for just what was shown.
	judgedSets map[setJudgement]bool
}

// judgement is one allow that was given.
type judgement struct {
	environment promotion.ID
	digest      manifest.Digest
	policy      reconcile.Digest
}

func newPolicies() *policyState {
	return &policyState{version: 1, denied: map[string]bool{}, changed: map[int]func(){}, judged: map[judgement]bool{}, judgedSets: map[setJudgement]bool{}}
}

func (p *policyState) digest() reconcile.Digest {
	if p.gone {
		return ""
	}
	return reconcile.Digest(manifest.DigestBytes(fmt.Appendf(nil, "policies %d", p.version)))
}

// change puts another bundle in force. The world is locked; whoever is to know
// is told by the caller, after.
func (p *policyState) change(denied ...string) {
	p.version++
	p.gone = false
	p.denied = map[string]bool{}
	for _, value := range denied {
		p.denied[value] = true
	}
}

// verdict is the truth about a release under the bundle in force.
func (p *policyState) verdict(environment string, made *rendered) (policy.Verdict, string) {
	if at, found := made.has(markUnjudged, environment); found {
		return policy.VerdictError, at.String()
	}
	if at, found := made.has(markDenied, environment); found {
		return policy.VerdictDeny, at.String()
	}
	for _, o := range made.set.Objects() {
		data, _ := o.Object["data"].(map[string]any)
		if value, _ := data["value"].(string); p.denied[value] {
			return policy.VerdictDeny, manifest.IDOf(o).String()
		}
	}
	return policy.VerdictAllow, ""
}

// policiesPort is the policy bundle as one life sees it.
type policiesPort struct{ *life }

// Digest implements controller.Policies. The loop calls it, so it takes no time.
func (p policiesPort) Digest() reconcile.Digest {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.policies.digest()
}

// Around implements controller.Policies.
func (p policiesPort) Around(promotion.Data) (policy.PodTemplates, policy.Looks) {
	return nil, policy.Looks{}
}

// Judge implements controller.Policies.
func (p policiesPort) Judge(ctx context.Context, in policy.Input) (policy.Report, error) {
	report := policy.Report{Environment: in.Environment.ID, Revision: in.Release.Revision, Digest: in.Release.Digest}
	err := p.call(ctx, "Policies.Judge", in.Environment.ID.String(), speedPolicy, func() error {
		current := p.s.policies
		report.PolicyDigest = manifest.Digest(current.digest())
		if current.gone {
			report.Verdict = policy.VerdictError
			return fmt.Errorf("no policy bundle could be loaded")
		}
		made := p.s.byDigest[in.Release.Digest]
		if made == nil {
			return fmt.Errorf("judge %s: nothing was rendered to it", in.Release.Digest.Short())
		}
		var culprit string
		report.Verdict, culprit = current.judgeStep(in)
		report.Findings, report.Errors, report.ByContent = nil, nil, true
		switch report.Verdict {
		case policy.VerdictDeny:
			report.Findings = []policy.Finding{{Rule: "sim/denied", Severity: policy.SeverityCritical, Action: policy.ActionDeny, Message: culprit + " is denied"}}
		case policy.VerdictError:
			report.Errors = []policy.RuleError{{Rule: "sim/unjudged", Message: culprit + " cannot be judged"}}
		case policy.VerdictAllow:
			content := contentOfSet(in.Objects)
			current.judgedSets[setJudgement{in.Environment.ID, content, current.digest()}] = true
			if content == contentOfSet(made.set.Objects()) {
				current.judged[judgement{in.Environment.ID, in.Release.Digest, current.digest()}] = true
			}
		}
		p.s.checkRedacted(p.life, in)
		return nil
	})
	if err != nil {
		return policy.Report{Verdict: policy.VerdictError}, err
	}
	return report, nil
}
