package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// Bounds of what is kept of a log.
const (
	logBytes   = 64 << 10 // read of each container
	lineBytes  = 300
	maxSecrets = 50
	maxValues  = 20_000          // that are looked for in a log, each by itself
	logWithin  = 5 * time.Second // a restore waits for it
	leastValue = 4               // bytes of a secret value that is looked for: a shorter one is in every text
	leastPart  = 6               // bytes of a part of one, likewise: numbers of ports are parts as well
)

var (
	podsOf    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secretsOf = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// Log is the last lines of the newest pod of a Job. The values of every Secret
// that the pod uses, and of those of the release, are taken out. Where one of
// them cannot be read nothing is told: nobody could take it out.
func (c *Cluster) Log(ctx context.Context, namespace, job string, lines int, release []*manifest.Object) (string, error) {
	pod, err := c.newestPod(ctx, namespace, job)
	if err != nil || pod == nil {
		return "", err
	}
	secrets, err := c.secretsFor(ctx, pod)
	if err != nil {
		return "", err
	}
	for _, o := range release {
		if id := manifest.IDOf(o); id.Group == "" && id.Kind == "Secret" {
			secrets = append(secrets, valuesOf(o)...)
		}
	}
	if len(secrets) > maxValues {
		return "", fmt.Errorf("the Secrets around Job %s hold more than %d lines, which are too many to take out", job, maxValues)
	}
	var told []string
	for _, container := range containersOf(pod) {
		text, err := c.raw.Get().AbsPath("/api/v1/namespaces", namespace, "pods", pod.GetName(), "log").
			Param("container", container).Param("tailLines", strconv.Itoa(lines)).Param("limitBytes", strconv.Itoa(logBytes)).DoRaw(ctx)
		if err != nil {
			return "", fmt.Errorf("read the log of pod %s: %w", pod.GetName(), shortAnswer(err))
		}
		told = append(told, tail(redacted(uncut(string(text)), secrets), lines)...)
	}
	return strings.Join(told[max(0, len(told)-lines):], "\n"), nil
}

// HookLog is the error of a hook that failed, with what it wrote. That is no
// part of the error's text, which is told to more people.
type HookLog struct {
	error
	Log string
}

// Unwrap is the error itself.
func (h *HookLog) Unwrap() error { return h.error }

// withLog adds to a hook's verdict what its newest pod wrote, or why that cannot
// be told.
func (a *applier) withLog(ctx context.Context, hook manifest.ID, verdict error) error {
	if a.w.LogLines <= 0 {
		return verdict
	}
	release := slices.Clip(a.rendered)
	for _, change := range a.changes {
		release = append(release, change.Object)
	}
	within, cancel := context.WithTimeout(ctx, logWithin)
	defer cancel()
	log, err := a.c.Log(within, hook.Namespace, hook.Name, a.w.LogLines, release)
	if err != nil {
		log = "no log: " + err.Error()
	}
	return &HookLog{verdict, hook.Name + ":\n" + log}
}

// uncut leaves out a last line that was cut off: half a secret is not known for
// one.
func uncut(text string) string {
	if len(text) < logBytes {
		return text
	}
	return text[:strings.LastIndexByte(text, '\n')+1]
}

// shortAnswer keeps what a server sends instead of a log to its first words.
func shortAnswer(err error) error { return errors.New(shorten(err.Error(), maxAnswer)) }

func (c *Cluster) newestPod(ctx context.Context, namespace, job string) (*unstructured.Unstructured, error) {
	list, err := c.dynamic.Resource(podsOf).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: "job-name=" + job, Limit: maxEvidence})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Job %s: %w", job, shortAnswer(err))
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("Job %s has no pod any more", job)
	}
	newest := slices.MaxFunc(list.Items, func(a, b unstructured.Unstructured) int {
		return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time)
	})
	return &newest, nil
}

func containersOf(pod *unstructured.Unstructured) []string {
	var names []string
	for _, container := range mappings(pod.Object, "spec", "containers") {
		if name, _ := container["name"].(string); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// secretsFor are the values of the Secrets that a pod names.
func (c *Cluster) secretsFor(ctx context.Context, pod *unstructured.Unstructured) ([]string, error) {
	var values []string
	names := secretNames(pod)
	if len(names) > maxSecrets {
		return nil, fmt.Errorf("pod %s uses more than %d Secrets", pod.GetName(), maxSecrets)
	}
	for _, name := range names {
		secret, err := c.dynamic.Resource(secretsOf).Namespace(pod.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err): // the pod does without
		case err != nil:
			return nil, fmt.Errorf("Secret %s, which the pod uses, cannot be read, so that its values could not be taken out", name)
		default:
			values = append(values, valuesOf(secret)...)
		}
	}
	return values, nil
}

func secretNames(pod *unstructured.Unstructured) []string {
	var names []string
	note := func(from map[string]any, fields ...string) {
		if name, _, _ := unstructured.NestedString(from, fields...); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, field := range []string{"initContainers", "containers"} {
		for _, container := range mappings(pod.Object, "spec", field) {
			for _, env := range mappings(container, "env") {
				note(env, "valueFrom", "secretKeyRef", "name")
			}
			for _, env := range mappings(container, "envFrom") {
				note(env, "secretRef", "name")
			}
		}
	}
	for _, volume := range mappings(pod.Object, "spec", "volumes") {
		note(volume, "secret", "secretName")
		for _, source := range mappings(volume, "projected", "sources") {
			note(source, "secret", "name")
		}
	}
	return names
}

// valuesOf are a Secret's values as they may stand in a text: whole, by line, in
// base64, and as a URL or JSON has them; and what is held by a value that is a file
// of settings, JSON, or an address.
func valuesOf(secret *unstructured.Unstructured) []string {
	var values []string
	add := func(value string) {
		quoted, _ := json.Marshal(value)
		for _, v := range append(strings.Split(value, "\n"), value, strings.TrimSpace(value), base64.StdEncoding.EncodeToString([]byte(value)),
			url.QueryEscape(value), url.PathEscape(value), strings.Trim(string(quoted), `"`)) {
			if v = strings.TrimRight(v, "\r"); len(v) >= leastValue {
				values = append(values, v)
			}
		}
	}
	whole := add
	add = func(value string) {
		whole(value)
		for _, part := range partsOf(value) {
			if len(part) >= leastPart {
				whole(part)
			}
		}
	}
	plain, _, _ := unstructured.NestedMap(secret.Object, "stringData")
	for _, value := range plain {
		if text, ok := value.(string); ok {
			add(text)
		}
	}
	packed, _, _ := unstructured.NestedMap(secret.Object, "data")
	for _, value := range packed {
		text, _ := value.(string)
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
			add(string(decoded))
		}
	}
	return values
}

// partsOf are what a program takes out of a value before it uses, and tells, it.
func partsOf(value string) (parts []string) {
	var document any
	if json.Unmarshal([]byte(value), &document) == nil {
		return leavesOf(document)
	}
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if at := strings.IndexAny(line, "=:"); at >= 0 && !strings.HasPrefix(line[at:], "://") {
			parts = append(parts, strings.Trim(line[at+1:], " \t\"',;"))
		}
		for _, word := range strings.Fields(line) {
			word = strings.Trim(word[strings.LastIndexAny(word, "\"'=")+1:], "\"',;")
			if address, err := url.Parse(word); err == nil && address.User != nil {
				password, _ := address.User.Password()
				parts = append(parts, password)
			}
		}
	}
	return parts
}

func leavesOf(document any) (leaves []string) {
	switch value := document.(type) {
	case string:
		return []string{value}
	case []any:
		for _, item := range value {
			leaves = append(leaves, leavesOf(item)...)
		}
	case map[string]any:
		for _, item := range value {
			leaves = append(leaves, leavesOf(item)...)
		}
	}
	return leaves
}

// telling are texts that are secrets by the look of them, whoever's they are.
var telling = []*regexp.Regexp{
	regexp.MustCompile(`(?i)((?:password|passwd|secret|token|api[-_]?key|authorization)["']?\s*[:=]\s*)(?:bearer |basic )?\S+`),
	regexp.MustCompile(`(?i)(bearer )[-A-Za-z0-9._~+/]{8,}=*`),
	regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^/\s:@]*:)\S+(@)`),
	regexp.MustCompile(`()eyJ[-A-Za-z0-9_]{10,}\.[-A-Za-z0-9_]{10,}\.[-A-Za-z0-9_]*`),
}

const takenOut = "<secret>"

// redacted takes the longest values out first: one may be a part of another.
func redacted(text string, secrets []string) string {
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, value := range secrets {
		text = strings.ReplaceAll(text, value, takenOut)
	}
	for _, look := range telling {
		text = look.ReplaceAllString(text, "${1}"+takenOut+"${2}")
	}
	return text
}

// tail is the last lines of a text, each bounded, and without what would move a
// terminal's cursor or turn words around.
func tail(text string, lines int) []string {
	all := strings.Split(strings.TrimRight(strings.ToValidUTF8(text, "�"), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	var kept []string
	for _, line := range all {
		line = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\t' || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, line)
		if len(line) > lineBytes {
			line = strings.ToValidUTF8(line[:lineBytes], "") + "…"
		}
		kept = append(kept, line)
	}
	return kept
}
