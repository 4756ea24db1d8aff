package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// version is an image as a service's kustomization.yaml has it. The sample
// keeps tag, digest and version label together in one file.
type version struct{ tag, digest string }

var (
	tagLine    = regexp.MustCompile(`(?m)^    newTag: (\S+)$`)
	digestLine = regexp.MustCompile(`(?m)^    digest: (\S+)\n`)
	labelLine  = regexp.MustCompile(`(?m)^      app\.kubernetes\.io/version: (\S+)$`)
)

func versionIn(file []byte) (version, error) {
	tag, err := one(tagLine, file, "newTag")
	if err != nil {
		return version{}, err
	}
	digest, err := one(digestLine, file, "digest")
	return version{tag, digest}, err
}

// setVersion writes another version; one without a digest loses that line.
func setVersion(file []byte, v version) ([]byte, error) {
	if _, err := versionIn(file); err != nil {
		return nil, err
	}
	if _, err := one(labelLine, file, "version label"); err != nil {
		return nil, err
	}
	digest := ""
	if v.digest != "" {
		digest = "    digest: " + v.digest + "\n"
	}
	file = tagLine.ReplaceAllLiteral(file, []byte("    newTag: "+v.tag))
	file = digestLine.ReplaceAllLiteral(file, []byte(digest))
	return labelLine.ReplaceAllLiteral(file, []byte("      app.kubernetes.io/version: "+v.tag)), nil
}

// next is the patch release after v: what a build would have pushed.
func (v version) next(image string) (version, error) {
	dot := strings.LastIndexByte(v.tag, '.')
	patch, err := strconv.Atoi(v.tag[dot+1:])
	if dot < 0 || err != nil {
		return version{}, fmt.Errorf("tag %q: want one that ends in a number, such as 1.4.2", v.tag)
	}
	tag := v.tag[:dot+1] + strconv.Itoa(patch+1)
	sum := sha256.Sum256([]byte(image + ":" + tag))
	return version{tag, "sha256:" + hex.EncodeToString(sum[:])}, nil
}

// that is v built so that it behaves: the local cluster takes a pod's
// behaviour from the end of its image's tag.
func (v version) that(behaves string) version {
	return version{v.tag + "-" + behaves, v.digest}
}

var verifyTimeout = regexp.MustCompile(`(?m)^    timeout: (\S+)$`)

// setVerifyTimeout changes spec.verify.timeout of an environment file. The
// checks' own timeouts stand further in.
func setVerifyTimeout(file []byte, timeout string) ([]byte, error) {
	if _, err := one(verifyTimeout, file, "verify.timeout"); err != nil {
		return nil, err
	}
	return verifyTimeout.ReplaceAllLiteral(file, []byte("    timeout: "+timeout)), nil
}

// dropResource takes one entry out of a kustomization's resources.
func dropResource(file []byte, name string) ([]byte, error) {
	line := regexp.MustCompile(`(?m)^  - ` + regexp.QuoteMeta(name) + `\n`)
	if found := len(line.FindAllIndex(file, -1)); found != 1 {
		return nil, fmt.Errorf("want one resource %s, found %d", name, found)
	}
	return line.ReplaceAllLiteral(file, nil), nil
}

const labels = "\nlabels:"

// setLabel gives every object of a kustomization a label, and in a file that
// setLabel wrote before, another value. Pod templates keep theirs, and so
// nothing is rolled out because of it.
func setLabel(file []byte, key, value string) ([]byte, error) {
	line := "      " + key + ": "
	if bytes.Contains(file, []byte(labels)) {
		old := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(line) + `.*$`)
		if found := len(old.FindAllIndex(file, -1)); found != 1 {
			return nil, fmt.Errorf("want no labels, or one %s, found %d", key, found)
		}
		return old.ReplaceAllLiteral(file, []byte(line+strconv.Quote(value))), nil
	}
	return append(bytes.Clone(file), []byte("labels:\n  - pairs:\n"+line+strconv.Quote(value)+"\n")...), nil
}

// brief is an image as people name it, without its digest.
func brief(image string) string {
	name, _, _ := strings.Cut(image, "@")
	return name
}

// one is the text that a pattern finds, if it does so exactly once.
func one(pattern *regexp.Regexp, file []byte, what string) (string, error) {
	found := pattern.FindAllSubmatch(file, -1)
	if len(found) != 1 {
		return "", fmt.Errorf("want one %s, found %d", what, len(found))
	}
	return string(found[0][1]), nil
}

var imageLine = regexp.MustCompile(`(?m)^          image: (\S+)\n`)

// makePrivileged gives a Deployment's container the whole node, as is done to
// look into something for five minutes.
func makePrivileged(file []byte) ([]byte, error) {
	image, err := one(imageLine, file, "container image")
	if err != nil {
		return nil, err
	}
	return imageLine.ReplaceAllLiteral(file, []byte("          image: "+image+"\n          securityContext: {privileged: true}\n")), nil
}
