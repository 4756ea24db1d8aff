package render

import (
	"encoding/base64"
	"strings"
	"testing"
)

const canary = "s3cr3t-c4n4ry!"

// Pitfall 40: a secret value in an error. Kustomize prints configurations,
// patches, literals and whole objects into its errors.
func TestPitfall40_ErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: " + encoded + "}\nstringData:\n  b: " + canary + "\n  c: |-\n    line one\n    " + canary + "\n"
	ambiguous := "resources: [a, b, r.yaml]\n"
	for name, change := range map[string]files{
		"literal without a key":    {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  literals: [" + canary + "]\n"},
		"literal, absent file":     {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  literals: [k=" + canary + "]\n  files: [gone]\n"},
		"literal, same name":       {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  literals: ['k=\"" + canary + "\"', k=2]\n"},
		"environment file":         {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  envs: [e]\n", "o/e": "A=" + canary + "\nA=2\n" + canary + "\n" + canary + "\n"},
		"environment file, binary": {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  envs: [e]\n", "o/e": canary + "\xff=" + canary + "\n"},
		"inline patch":             {"o/kustomization.yaml": "patches:\n- patch: |\n    kind: Secret\n    stringData: {p: " + canary + "}\n"},
		"inline patch, no target":  {"o/kustomization.yaml": "patches:\n- patch: |\n    apiVersion: v1\n    kind: Secret\n    metadata: {name: gone}\n    stringData: {p: " + canary + "}\n"},
		"JSON patch":               {"o/kustomization.yaml": "resources: [s.yaml]\npatches:\n- patch: '[{\"op\":\"add\",\"path\":\"/data/x/y\",\"value\":\"" + canary + "\"}]'\n  target: {kind: Secret}\n", "o/s.yaml": secret},
		"JSON patch, no target":    {"o/kustomization.yaml": "patches:\n- patch: '[{\"op\":\"add\",\"path\":\"/x\",\"value\":\"" + canary + "\"}]'\n"},
		"legacy JSON patch":        {"o/kustomization.yaml": "patchesJson6902:\n- patch: '[{\"op\":\"add\",\"value\":\"" + canary + "\"}, 3]'\n  target: {kind: Secret, name: s, version: v1}\n"},
		"unknown anchor":           {"o/kustomization.yaml": "resources: [s.yaml]\n", "o/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: *" + canary + "}\n"},
		"anchor in generator":      {"o/kustomization.yaml": "secretGenerator:\n- name: x\n  literals: [*" + canary + "]\n"},
		"no name":                  {"o/kustomization.yaml": "resources: [s.yaml]\n", "o/s.yaml": strings.Replace(secret, "name: s", "label: s", 1)},
		"same object twice":        {"o/kustomization.yaml": "resources: [s.yaml, t.yaml]\n", "o/s.yaml": secret, "o/t.yaml": secret},
		"wrong type":               {"o/kustomization.yaml": "resources: [s.yaml]\ncommonLabels: {x: y}\n", "o/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: [" + canary + "]}\nstringData: {p: " + canary + "}\n"},
		"generator plugin":         {"o/kustomization.yaml": "generators:\n- |-\n  apiVersion: builtin\n  kind: SecretGenerator\n  metadata: {name: x}\n  name: x\n  literals: [" + canary + "]\n"},
		"ambiguous reference": {"o/kustomization.yaml": ambiguous,
			"o/r.yaml":               deployment,
			"o/a/kustomization.yaml": renaming("one"), "o/b/kustomization.yaml": renaming("two"),
			"o/c/kustomization.yaml": "resources: [c.yaml]\n", "o/c/c.yaml": strings.Replace(secret, "name: s", "name: token", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, change, "o")
			if err == nil {
				t.Fatal("no error, so this test shows nothing")
			}
			message := err.Error()
			for _, spelling := range []string{canary, encoded, strings.TrimSuffix(canary, "!")} {
				if strings.Contains(message, spelling) {
					t.Errorf("the error tells the secret: %s", message)
				}
			}
			if len(message) > maxMessage+200 {
				t.Errorf("the error has %d bytes", len(message))
			}
			t.Log(message)
		})
	}
}

// renaming makes the Secret token another one, which kustomize remembers as
// what references to token may mean.
func renaming(name string) string {
	return "resources: [../c]\npatches:\n- target: {kind: Secret}\n  options: {allowNameChange: true}\n" +
		"  patch: '[{\"op\":\"replace\",\"path\":\"/metadata/name\",\"value\":\"" + name + "\"}]'\n"
}
