package evidence

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// statement is what a payload says of some digests.
type statement struct {
	kind       Kind
	digests    []string // sha256:…, sorted
	provenance Provenance
	scan       Scan
	test       Test
}

// maxSubjects bounds what one statement is about.
const maxSubjects = 256

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// predicates are read by type. Those that are no evidence of any kind here are
// listed without one.
var predicates = map[string]func(*reader, node, *statement){
	"https://slsa.dev/provenance/v1":                  readProvenance,
	"https://slsa.dev/provenance/v0.2":                readEarlierProvenance,
	"https://cosign.sigstore.dev/attestation/vuln/v1": readScan,
	"cosign.sigstore.dev/attestation/vuln/v1":         readScan, // as cosign wrote it at first
	"https://in-toto.io/attestation/vulns/v0.1":       readScan,
	"https://in-toto.io/attestation/vulns/v0.2":       readScan,
	"https://in-toto.io/attestation/test-result/v0.1": readTest,
	"https://sigstore.dev/cosign/sign/v1":             readSignature,
}

// readStatement reads a payload. What it claims to be about is there even where
// the rest is wrong.
func readStatement(e envelope) (statement, error) {
	document, err := single(e.payload)
	if err != nil {
		return statement{}, fmt.Errorf("payload: %w", err)
	}
	if e.simple {
		return readSimple(document)
	}
	var r reader
	var s statement
	whole := node{value: document}
	s.digests = r.subjects(r.field(whole, "subject"))
	kind := r.text(r.field(whole, "_type"))
	if kind != "https://in-toto.io/Statement/v1" && kind != "https://in-toto.io/Statement/v0.1" {
		r.refuse(r.field(whole, "_type"), "https://in-toto.io/Statement/v1")
	}
	predicateType := r.required(r.field(whole, "predicateType"))
	read, known := predicates[predicateType]
	if r.err == nil && !known {
		return s, fmt.Errorf("predicateType: %.200q is none that policies look at; want provenance, a scan, a test result or a signature", predicateType)
	}
	predicate := r.field(whole, "predicate")
	if _, object := predicate.value.(map[string]any); !object && !predicate.missing() {
		r.refuse(predicate, "an object")
	}
	if r.err == nil {
		read(&r, predicate, &s)
	}
	return s, r.err
}

// subjects are the digests of images among what a statement is about.
func (r *reader) subjects(n node) []string {
	entries := r.list(n)
	if len(entries) > maxSubjects {
		r.refuse(n, fmt.Sprintf("at most %d subjects", maxSubjects))
		entries = nil
	}
	var digests []string
	for _, entry := range entries {
		sum := r.text(r.at(entry, "digest", "sha256"))
		if hexDigest.MatchString(sum) {
			digests = append(digests, "sha256:"+sum)
		} else if sum != "" {
			r.refuse(r.at(entry, "digest", "sha256"), "64 lower-case hexadecimal digits")
		}
	}
	if len(digests) == 0 {
		r.refuse(n, "the digest of an image: {digest: {sha256: …}}")
	}
	slices.Sort(digests)
	return slices.Compact(digests)
}

// readSimple reads cosign's own payload, which names one image.
func readSimple(document any) (statement, error) {
	var r reader
	critical := r.field(node{value: document}, "critical")
	digest := r.required(r.at(critical, "image", "docker-manifest-digest"))
	s := statement{kind: KindSignature}
	sum, found := strings.CutPrefix(digest, "sha256:")
	if !found || !hexDigest.MatchString(sum) {
		r.refuse(r.at(critical, "image", "docker-manifest-digest"), "sha256: and 64 lower-case hexadecimal digits")
	} else {
		s.digests = []string{digest}
	}
	if what := r.text(r.field(critical, "type")); r.err == nil && what != "cosign container image signature" {
		return s, errors.New(`critical.type: want "cosign container image signature"`)
	}
	return s, r.err
}

func readSignature(_ *reader, _ node, s *statement) { s.kind = KindSignature }

// readProvenance reads SLSA's provenance of version 1.
func readProvenance(r *reader, n node, s *statement) {
	s.kind = KindProvenance
	run := r.field(n, "runDetails")
	s.provenance.Builder = r.required(r.at(run, "builder", "id"))
	s.provenance.Finished = r.moment(r.at(run, "metadata", "finishedOn"))
	s.provenance.Source = r.commitOf(r.at(n, "buildDefinition", "resolvedDependencies"))
}

// readEarlierProvenance reads version 0.2, which many builders still write.
func readEarlierProvenance(r *reader, n node, s *statement) {
	s.kind = KindProvenance
	s.provenance.Builder = r.required(r.at(n, "builder", "id"))
	s.provenance.Finished = r.moment(r.at(n, "metadata", "buildFinishedOn"))
	s.provenance.Source = r.text(r.at(n, "invocation", "configSource", "uri"))
	if s.provenance.Source == "" {
		s.provenance.Source = r.commitOf(r.field(n, "materials"))
	}
}

// commitOf is the first of what was built from that is a commit.
func (r *reader) commitOf(n node) string {
	for _, entry := range r.list(n) {
		commit := r.text(r.at(entry, "digest", "gitCommit"))
		if commit == "" {
			commit = r.text(r.at(entry, "digest", "sha1"))
		}
		if uri := r.text(r.field(entry, "uri")); commit != "" && uri != "" {
			return uri
		}
	}
	return ""
}

// readTest reads in-toto's result of a suite of tests.
func readTest(r *reader, n node, s *statement) {
	s.kind = KindTest
	result := r.field(n, "result")
	s.test.Result = r.text(result)
	if !slices.Contains([]string{"PASSED", "WARNED", "FAILED"}, s.test.Result) {
		r.refuse(result, "PASSED, WARNED or FAILED")
	}
	s.test.URL = r.text(r.field(n, "url"))
	failed := r.texts(r.field(n, "failedTests"))
	if len(failed) > 0 && s.test.Result != "FAILED" {
		r.refuse(result, "FAILED, as failedTests names some")
	}
	s.test.Failed = firstOf(failed)
}
