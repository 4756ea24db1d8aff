package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/attest"
)

const signedRule = `# METADATA
# title: Images are signed
# description: An image with a digest has a signature.
# scope: package
# custom:
#   id: image/allowed
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   controls:
#     pss: [restricted]
#   remediation: Sign the image.
package image.allowed

deny contains {"msg": sprintf("%s is not signed", [recorded.digest])} if {
	some recorded in input.evidence.images
	count(recorded.signatures) == 0
}
`

// A release waits for evidence about its image, and goes on when the commit comes
// that brings it: signed by the key that the policies name, and by no other.
func TestEvidenceOpensTheGate(t *testing.T) {
	quick(t)
	ci, other := attest.ECDSA(t), attest.ECDSA(t)
	digest := "sha256:" + strings.Repeat("a", 64)
	params, err := json.Marshal(map[string]any{"evidence": map[string]any{"keys": map[string]any{"ci": ci.Key("signature")}}})
	if err != nil {
		t.Fatal(err)
	}
	policies := &mount{TB: t, dir: t.TempDir()}
	policies.put(map[string]string{
		"image/allowed/rule.rego":              signedRule,
		"image/allowed/testdata/pass/one.yaml": deployment("1.0.0"),
		"image/allowed/testdata/fail/one.yaml": deployment("1.0.0@" + digest),
		"params/data.json":                     string(params),
	})
	w := newWorld(t, alone())
	w.start(map[string]string{"policies-directory": policies.dir})
	w.awaitRuns(development, w.first)

	w.push("by its digest", version("2.0.0@"+digest))
	if r := w.awaitReason(development, promotion.PolicyDenied); !strings.Contains(r.Message, "is not signed") {
		t.Errorf("status says %q", r.Message)
	}
	const file = "environments/demo/evidence/app.json"
	forged := w.push("signed by somebody else", map[string]string{file: string(other.Image(digest))})
	w.await("it to be denied, too", func() bool {
		r := w.record(development)
		return r.Status.Reason == promotion.PolicyDenied && r.Status.Wanted.Revision == forged
	})
	signed := w.push("signed", map[string]string{file: string(ci.Image(digest))})
	w.awaitRuns(development, signed)
}
