package evidence

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/testkit/attest"
)

var (
	one   = "sha256:" + strings.Repeat("1", 64)
	two   = "sha256:" + strings.Repeat("2", 64)
	april = time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
)

func keysOf(t testing.TB, table map[string]any) Keys {
	t.Helper()
	keys, err := ParseKeys(table)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// facts of one file about one digest.
func factsOf(content []byte, keys Keys, digests ...string) Facts {
	return Of(digests, Folder{Files: []File{{Name: "f.json"}}}, []Statements{Verify(content, keys)})
}

func all(s *attest.Signer) map[string]any {
	return map[string]any{"ci": s.Key("signature", "provenance", "scan", "test")}
}

// A statement by a key of any kind, in any envelope, says what it says.
func TestStatements(t *testing.T) {
	t.Parallel()
	ecdsa, ed, rsa, pss := attest.ECDSA(t), attest.Ed25519(t), attest.RSA(t, false), attest.RSA(t, true)
	record := Record{Key: "ci", File: "f.json"}
	bundle := func(envelope []byte) []byte {
		return []byte(`{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}, "dsseEnvelope": ` + string(envelope) + "}")
	}
	earlier := map[string]any{"builder": map[string]any{"id": "https://b"}, "metadata": map[string]any{"buildFinishedOn": "2026-04-05T08:07:08+02:00"},
		"materials": []any{map[string]any{"uri": "git+https://g", "digest": map[string]any{"sha1": "abc"}}}}
	for name, tt := range map[string]struct {
		by      *attest.Signer
		content []byte
		want    Image
	}{
		"plain signature": {rsa, rsa.Image(one), Image{Signatures: []Signature{{record}}}},
		"signature of cosign 3": {ecdsa, bundle(ecdsa.Statement("https://sigstore.dev/cosign/sign/v1", map[string]any{}, one)),
			Image{Signatures: []Signature{{record}}}},
		"provenance": {ed, ed.Statement(attest.Provenance, attest.Built("https://b"), two, one),
			Image{Provenance: []Provenance{{record, "https://b", "git+https://git.example.org/app@refs/heads/main", "2026-04-05T06:07:08Z"}}}},
		"earlier provenance": {pss, pss.Statement("https://slsa.dev/provenance/v0.2", earlier, one),
			Image{Provenance: []Provenance{{record, "https://b", "git+https://g", "2026-04-05T06:07:08Z"}}}},
		"scan": {ecdsa, ecdsa.Statement(attest.Scan, attest.Scanned(april, "CVE-1", "CRITICAL", "CVE-1", "LOW", "CVE-2", "HIGH", "CVE-3", "UNKNOWN"), one),
			Image{Scans: []Scan{{record, "pkg:github/aquasecurity/trivy", "0.60.0", "2026-04-05T06:07:08Z", 1, 1, []string{"CVE-1"}}}}},
		"tests": {ecdsa, ecdsa.Statement(attest.Test, attest.Tested("FAILED", "smoke"), one),
			Image{Tests: []Test{{record, "FAILED", "https://ci.example.org/runs/7", []string{"smoke"}}}}},
		"several in one file": {ecdsa, slices.Concat(ecdsa.Image(one), []byte("\n"), ecdsa.Statement(attest.Test, attest.Tested("PASSED"), one)),
			Image{Signatures: []Signature{{record}}, Tests: []Test{{record, "PASSED", "https://ci.example.org/runs/7", []string{}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := factsOf(tt.content, keysOf(t, all(tt.by)), one)
			if len(got.Refused) > 0 || !sameImage(got.Images[0], tt.want) {
				t.Errorf("%+v\nwant %+v", got, tt.want)
			}
			others := factsOf(tt.content, keysOf(t, all(attest.ECDSA(t))), one)
			if !sameImage(others.Images[0], Image{}) || len(others.Refused) == 0 {
				t.Errorf("by another key: %+v; want it refused", others)
			}
		})
	}
}

func sameImage(got, want Image) bool {
	want.Digest = one
	return reflect.DeepEqual(Facts{Images: []Image{got}}.Filled(), Facts{Images: []Image{want}}.Filled())
}

// Reports are counted by their form; one that is not understood does not count.
func TestScans(t *testing.T) {
	t.Parallel()
	signer := attest.ECDSA(t)
	keys := keysOf(t, all(signer))
	for result, want := range map[string]string{
		`{"matches": [{"vulnerability": {"id": "A", "severity": "Critical"}}, {"vulnerability": {"id": "B", "severity": "Negligible"}}]}`: "1 critical, 0 high",
		`{"matches": []}`: "0 critical, 0 high",
		`{"SchemaVersion": 2, "ArtifactName": "x"}`: "0 critical, 0 high",
		`[]`: "0 critical, 0 high",
		`[{"id": "A", "severity": [{"method": "nvd", "score": "high"}, {"method": "cvss", "score": "9.8"}]}]`:          "1 critical, 0 high",
		`[{"id": "A", "severity": [{"method": "cvss", "score": "7.0"}]}, {"id": "B", "severity": [{"score": "6.9"}]}]`: "0 critical, 1 high",
		`[{"id": "A", "severity": [{"method": "cvss", "score": "NaN"}]}]`:                                              "severity[0].score",
		`[{"id": "A", "severity": []}]`:                 "how severe it is",
		`{"matches": [{"vulnerability": {"id": "A"}}]}`: "predicate.scanner.result.matches[0].vulnerability.severity",
		`{"SchemaVersion": 3}`:                          "SchemaVersion: want 2",
		`{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"VulnerabilityID": "A", "Severity": "AWFUL"}]}]}`: "Vulnerabilities[0].Severity",
		`{"SchemaVersion": 2, "Results": {}}`: "Results: want a list",
		`{}`:                                  "as Trivy or Grype write it",
		`{"vulnerabilities": []}`:             "as Trivy or Grype write it",
		`null`:                                "as Trivy or Grype write it",
	} {
		predicate := fmt.Sprintf(`{"scanner": {"uri": "s", "result": %s}, "metadata": {"scanFinishedOn": "2026-04-05T06:07:08Z"}}`, result)
		facts := factsOf(signer.Statement(attest.Scan, json.RawMessage(predicate), one), keys, one)
		got := fmt.Sprint(facts.Refused)
		if scans := facts.Images[0].Scans; len(scans) == 1 {
			got = fmt.Sprintf("%d critical, %d high", scans[0].Critical, scans[0].High)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %s", result, got, want)
		}
	}
}

// Whatever does not count is told, with the reason.
func TestRefused(t *testing.T) {
	t.Parallel()
	ci, other := attest.ECDSA(t), attest.ECDSA(t)
	scanned := func(finished string) json.RawMessage {
		return json.RawMessage(`{"scanner": {"result": {"matches": []}}, "metadata": {"scanFinishedOn": "` + finished + `"}}`)
	}
	key := ci.Key("provenance", "scan")
	key["builders"] = []any{"https://ours"}
	keys := keysOf(t, map[string]any{"ci": key})
	statement := func(text string) []byte { return ci.Envelope([]byte(text)) }
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":                 {nil, "empty"},
		"no JSON":               {[]byte("-----BEGIN"), "invalid character"},
		"cut off":               {ci.Image(one)[:40], "ends in the middle"},
		"not UTF-8":             {[]byte("{\"a\": \"\xff\"}"), "UTF-8"},
		"another document":      {[]byte(`{"kind": "Deployment"}`), "want a DSSE envelope"},
		"a list":                {[]byte(`[]`), "want a DSSE envelope"},
		"said twice":            {[]byte(`{"payload": "e30=", "payload": "e30="}`), `"payload" stands there twice`},
		"too deep":              {[]byte(strings.Repeat("[", 1000)), "deep"},
		"too much":              {[]byte("[" + strings.Repeat("0,", maxValues) + "0]"), "values"},
		"too large":             {make([]byte, MaxBytes+1), "bytes"},
		"unsigned":              {[]byte(`{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}`), "signatures: want 1 to 4"},
		"another type":          {[]byte(`{"payloadType": "text/plain", "payload": "e30=", "signatures": [{"sig": "e30="}]}`), "payloadType: want application/vnd.in-toto+json"},
		"another key":           {other.Statement(attest.Scan, attest.Scanned(april), one), "no key that the policies name"},
		"another builder":       {ci.Statement(attest.Provenance, attest.Built("https://theirs"), one), `ci has signed it, and may not speak for the builder "https://theirs"`},
		"may not":               {ci.Statement(attest.Test, attest.Tested("PASSED"), one), "may speak of [provenance scan] only, not of a test"},
		"another statement":     {statement(`{"_type": "https://in-toto.io/Statement/v2"}`), "subject: want the digest of an image"},
		"another version":       {statement(`{"_type": "x", "subject": [{"digest": {"sha256": "` + one[7:] + `"}}]}`), "_type: want https://in-toto.io/Statement/v1"},
		"another predicate":     {ci.Statement("https://example.org/v1", attest.Scanned(april), one), `"https://example.org/v1" is none that policies look at`},
		"a digest in capitals":  {ci.Statement(attest.Scan, attest.Scanned(april), strings.Repeat("A", 64)), "lower-case"},
		"a predicate in a list": {ci.Statement(attest.Scan, []any{}, one), "predicate: want an object"},
		"no time":               {ci.Statement(attest.Scan, scanned(""), one), "when the scan ended"},
		"another time":          {ci.Statement(attest.Scan, scanned("yesterday"), one), `2026-04-05T06:07:08Z, and not "yesterday"`},
		"a time of no time":     {ci.Statement(attest.Scan, scanned("0001-01-01T00:00:00Z"), one), "want a time"},
		"two documents":         {statement(`{} {}`), "nothing after it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := factsOf(tt.content, keys, one)
			if len(facts.Refused) != 1 || !strings.Contains(facts.Refused[0].Reason, tt.want) || facts.Refused[0].File != "f.json" {
				t.Errorf("%+v; want it refused: %s", facts.Refused, tt.want)
			}
			if !sameImage(facts.Images[0], Image{}) {
				t.Errorf("%+v; want nothing to count", facts.Images[0])
			}
		})
	}
}

// What is said of other images is nobody's matter here.
func TestOnlyOfWhatIsAsked(t *testing.T) {
	t.Parallel()
	ci, other := attest.ECDSA(t), attest.ECDSA(t)
	keys := keysOf(t, all(ci))
	facts := factsOf(ci.Image(two), keys, one)
	if len(facts.Images) != 1 || !sameImage(facts.Images[0], Image{}) || len(facts.Refused) > 0 {
		t.Errorf("%+v; want nothing", facts)
	}
	if facts = factsOf(other.Image(two), keys, one); len(facts.Refused) > 0 {
		t.Errorf("%+v; want nothing of another image", facts)
	}
	facts = factsOf(other.Image(one), keys, one)
	if len(facts.Refused) != 1 || !slices.Equal(facts.Refused[0].Digests, []string{one}) {
		t.Errorf("%+v; want it to tell about which image", facts.Refused)
	}
}

// No change of what is signed goes unnoticed: what counts is what was signed.
func TestAnyChangeIsNoticed(t *testing.T) {
	t.Parallel()
	signer := attest.Ed25519(t)
	keys := keysOf(t, all(signer))
	original := signer.Statement(attest.Scan, attest.Scanned(april, "CVE-1", "CRITICAL"), one)
	want := factsOf(original, keys, one).Images[0]
	rapid.Check(t, func(t *rapid.T) {
		var e struct {
			PayloadType string              `json:"payloadType"`
			Payload     []byte              `json:"payload"`
			Signatures  []map[string]string `json:"signatures"`
		}
		if err := json.Unmarshal(original, &e); err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(e.Payload)-1).Draw(t, "at")
		e.Payload[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		content, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		facts := factsOf(content, keys, one)
		if !sameImage(facts.Images[0], Image{}) {
			t.Fatalf("%+v; want nothing to count, as byte %d differs", facts, at)
		}
	})
	if want.Scans[0].Critical != 1 {
		t.Errorf("%+v; want the original to count", want)
	}
}

func FuzzVerify(f *testing.F) {
	signer := attest.ECDSA(f)
	keys := keysOf(f, all(signer))
	f.Add(signer.Image(one))
	f.Add(signer.Statement(attest.Scan, attest.Scanned(april, "A", "HIGH"), one))
	f.Add([]byte(`{"dsseEnvelope": {"payload": "e30"}}`))
	f.Add([]byte(`{"payloadType": "application/vnd.in-toto+json", "payload": "` + base64.StdEncoding.EncodeToString([]byte(`{"_type": 1}`)) + `", "signatures": [{"sig": "AA=="}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := Verify(content, keys)
		if len(s.verified)+len(s.refused) == 0 {
			t.Error("nothing is said of it")
		}
		// As a payload that is signed, so that what reads it is reached.
		for _, simple := range []bool{false, true} {
			statement, err := readStatement(envelope{payload: content, simple: simple})
			if err == nil && (len(statement.digests) == 0 || statement.kind == "") {
				t.Errorf("%+v; want a kind, and what it is about", statement)
			}
		}
	})
}
