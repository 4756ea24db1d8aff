package lint

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// instructions are the lines of a Dockerfile without comments, each instruction
// on one line.
func instructions(dockerfile string) []string {
	joined := strings.ReplaceAll(dockerfile, "\\\n", " ")
	var lines []string
	for line := range strings.SplitSeq(joined, "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// imageFaults are the promises about the image that a Dockerfile breaks: there
// is no container engine where these tests run.
func imageFaults(dockerfile, deployment string) []string {
	var faults []string
	want := func(ok bool, promise string) {
		if !ok {
			faults = append(faults, promise)
		}
	}
	all := instructions(dockerfile)
	last := 0
	for i, line := range all {
		if strings.HasPrefix(line, "FROM ") {
			last = i
			want(line == "FROM scratch" || regexp.MustCompile(`^FROM golang:\d+\.\d+\.\d+-\w+ AS build$`).MatchString(line), "a base of one exact version")
		}
		want(!strings.HasPrefix(line, "ADD "), "COPY, never ADD")
	}
	build, final := strings.Join(all[:last], "\n"), all[last:]
	want(strings.Contains(build, "CGO_ENABLED=0"), "a static binary")
	want(strings.Contains(build, "-tags timetzdata"), "time zones in the binary")
	want(final[0] == "FROM scratch", "nothing under the binary")

	var copied []string
	user := ""
	for _, line := range final {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "COPY":
			copied = append(copied, rest)
		case "USER":
			user = rest
		case "ENTRYPOINT", "CMD":
			want(strings.HasPrefix(rest, "["), "no shell around the command")
		}
		want(slices.Contains([]string{"FROM", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}, word), "nothing runs in the final stage")
	}
	want(slices.Equal(copied, []string{
		"--from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt", "--from=build /chaperone /chaperone",
	}), "the binary, the certificates and nothing else")
	id := regexp.MustCompile(`^([1-9][0-9]*):[1-9][0-9]*$`).FindStringSubmatch(user)
	want(id != nil, "a user that is a number and not root")
	want(id != nil && strings.Contains(deployment, "runAsUser: "+id[1]+"\n"), "the user that the Deployment asks for")
	return faults
}

func TestTheImageKeepsItsPromises(t *testing.T) {
	t.Parallel()
	dockerfile, deployment := readText(t, "Dockerfile"), readText(t, "base/chaperone/deployment.yaml")
	for _, fault := range imageFaults(dockerfile, deployment) {
		t.Errorf("Dockerfile: want %s", fault)
	}
	if !strings.Contains(deployment, "readOnlyRootFilesystem: true") {
		t.Error("base/chaperone/deployment.yaml: want a read-only root")
	}
	for old, broken := range map[string]string{
		"FROM scratch\n":              "FROM alpine:3\n",
		"USER 10001:10001":            "USER root",
		"USER 10001:10001\n":          "",
		"CGO_ENABLED=0":               "CGO_ENABLED=1",
		"-tags timetzdata":            "",
		`ENTRYPOINT ["/chaperone"]`:   "ENTRYPOINT /chaperone",
		"EXPOSE 8080":                 "RUN id",
		"golang:1.26.8-bookworm":      "golang:latest",
		"COPY --from=build /etc/ssl":  "ADD --from=build /etc/ssl",
		"COPY --from=build /chaper":   "COPY --from=build /bin/sh /bin/sh\nCOPY --from=build /chaper",
		"USER 10001:10001\nEXPOSE 80": "USER 10002:10001\nEXPOSE 80",
	} {
		if changed := strings.Replace(dockerfile, old, broken, 1); changed == dockerfile || len(imageFaults(changed, deployment)) == 0 {
			t.Errorf("%q in place of %q is not noticed", broken, old)
		}
	}
}

func TestTheBuildContextHasWhatTheImageCopies(t *testing.T) {
	t.Parallel()
	ignored := readText(t, ".dockerignore")
	for _, line := range instructions(readText(t, "Dockerfile")) {
		words := strings.Fields(line)
		if words[0] != "COPY" || strings.HasPrefix(words[1], "--from") {
			continue
		}
		for _, name := range words[1 : len(words)-1] {
			if !strings.Contains(ignored, "\n!"+name+"\n") {
				t.Errorf(".dockerignore keeps %s from the build", name)
			}
			if _, err := fs.Stat(os.DirFS(root), name); err != nil {
				t.Errorf("Dockerfile copies what is not there: %v", err)
			}
		}
	}
}

func TestMakeHasItsTargets(t *testing.T) {
	t.Parallel()
	makefile := readText(t, "Makefile")
	for _, target := range []string{"help", "demo", "test", "check", "lint", "bench", "bench-smoke", "build", "image", "generate", "fmt"} {
		if !regexp.MustCompile(`(?m)^` + target + `:.* ## \w.*$`).MatchString(makefile) {
			t.Errorf("Makefile: want a target %s with a line of help", target)
		}
	}
	if !strings.Contains(makefile, "demo $(ARGS)") || !strings.Contains(makefile, ".DEFAULT_GOAL := help") {
		t.Error("Makefile: want ARGS passed to demo, and help by default")
	}
}

func TestContinuousIntegrationRunsWhatItShould(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(root + "/.ci/run")
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run: want it executable: %v", err)
	}
	script := readText(t, ".ci/run")
	var steps []string
	for line := range strings.SplitSeq(script, "\n") {
		if step, is := strings.CutPrefix(line, "step "); is {
			steps = append(steps, step)
		}
	}
	if !slices.Equal(steps, []string{"make test", "make lint", "make bench-smoke"}) {
		t.Errorf(".ci/run: runs %q", steps)
	}
	if !strings.Contains(script, "set -euo pipefail") || !strings.Contains(script, "</dev/null") {
		t.Error(".ci/run: want it to stop at the first error, and no input")
	}
}
