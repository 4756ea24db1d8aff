package sim

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// change is one line of what a commit does.
type change func(*driver, files) error

// edit is what a commit does, and says.
type edit struct {
	changes  []change
	trailers []string
}

func (e edit) apply(d *driver, on files) (files, error) {
	tree := maps.Clone(on)
	for _, c := range e.changes {
		if err := c(d, tree); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// parseEdit reads the lines below a push.
func parseEdit(block []string, line int) (edit, error) {
	var e edit
	for i := 0; i < len(block); i++ {
		deeper := 0
		for i+1+deeper < len(block) && indent(block[i+1+deeper]) > indent(block[i]) {
			deeper++
		}
		below := block[i+1 : i+1+deeper]
		text := strings.TrimSpace(block[i])
		at := line + 1 + i
		if trailer, is := strings.CutPrefix(text, "trailer "); is {
			e.trailers = append(e.trailers, trailer)
		} else {
			c, err := parseChange(text, below)
			if err != nil {
				return e, fmt.Errorf("line %d or near: %w", at, err)
			}
			e.changes = append(e.changes, c)
			i += deeper
			continue
		}
		if deeper > 0 {
			return e, fmt.Errorf("line %d or near: nothing can stand below %q", at, text)
		}
	}
	return e, nil
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func parseChange(text string, below []string) (change, error) {
	words := strings.Fields(text)
	switch {
	case words[0] == "environment":
		return parseEnvironmentChange(text, below)
	case len(below) > 0:
		return nil, fmt.Errorf("nothing can stand below %q", text)
	case words[0] == "remove" && len(words) == 3 && words[1] == "environment":
		var a args
		if err := readEnvironment(&a, words[2]); err != nil {
			return nil, err
		}
		return func(_ *driver, tree files) error { return removeFile(tree, environmentFile(a.envs[0])) }, nil
	case words[0] == "remove" && (len(words) == 3 || len(words) == 4):
		at, err := placeOf(words[1 : len(words)-1])
		if err != nil {
			return nil, err
		}
		file := at.file(words[len(words)-1])
		return func(_ *driver, tree files) error { return removeFile(tree, file) }, nil
	}
	return parseContent(text)
}

func removeFile(tree files, file string) error {
	if _, found := tree[file]; !found {
		return fmt.Errorf("%s is not there", file)
	}
	delete(tree, file)
	return nil
}

// place is where an object's file stands.
type place struct {
	dir  string
	env  promotion.ID // zero for a base
	kind string
}

// objectKinds are what a line can hold, with the first being what it is without
// a word.
var objectKinds = []string{"config", "volume", "secret", "migration", "rollback", "pile", "workload"}

func placeOf(words []string) (place, error) {
	at := place{kind: objectKinds[0]}
	if len(words) == 2 {
		if at.kind = words[1]; !slices.Contains(objectKinds, at.kind) {
			return at, fmt.Errorf("%q is no kind of object; want one of %v", at.kind, objectKinds)
		}
	}
	if pipeline, is := strings.CutSuffix(words[0], "/base"); is || words[0] == "base" {
		if !is {
			pipeline = defaultPipeline
		}
		at.dir = "base/" + pipeline
		return at, nil
	}
	var a args
	if err := readEnvironment(&a, words[0]); err != nil {
		return at, err
	}
	at.env, at.dir = a.envs[0], "overlays/"+a.envs[0].String()
	return at, nil
}

func (p place) file(name string) string {
	if p.kind == objectKinds[0] {
		return path.Join(p.dir, name+".yaml")
	}
	return path.Join(p.dir, p.kind+"-"+name+".yaml")
}

// parseContent reads `<where> [<kind>] <name>: <value>, <mark> in <where>…`.
func parseContent(text string) (change, error) {
	head, rest, found := strings.Cut(text, ": ")
	words := strings.Fields(head)
	if !found || len(words) < 2 || len(words) > 3 {
		return nil, fmt.Errorf("%q: want such as `base app: v2, fails in staging`, `staging volume data: 10Gi`, `production pin: \"subject\"`, "+
			"`remove base app`, `environment testing after development` or `trailer Chaperone-Urgent: true`", text)
	}
	name := words[len(words)-1]
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("%q: want a name of lower-case letters, digits and dashes", name)
	}
	at, err := placeOf(words[:len(words)-1])
	if err != nil {
		return nil, err
	}
	if name == "pin" && len(words) == 2 && at.env.Name != "" {
		return parsePin(at.env, rest)
	}
	value, marks, _ := strings.Cut(rest, ",")
	content, err := contentOf(at.kind, name, strings.TrimSpace(value), marks)
	if err != nil {
		return nil, err
	}
	file := at.file(name)
	return func(_ *driver, tree files) error { tree[file] = content; return nil }, nil
}

// parsePin moves a pin to the commit with a subject, or to a hash.
func parsePin(env promotion.ID, to string) (change, error) {
	words, err := tokens(to)
	if err != nil || len(words) != 1 {
		return nil, fmt.Errorf("%s: want the subject of a commit in quotation marks, or its full hash", to)
	}
	return func(d *driver, tree files) error {
		revision := source.Revision(words[0].text)
		if words[0].quoted {
			c := d.s.git.bySubject(words[0].text)
			if c == nil {
				return fmt.Errorf("there is no commit %q", words[0].text)
			}
			revision = c.Revision
		}
		edited, err := promotion.SetRevision([]byte(tree[environmentFile(env)]), revision)
		if err != nil {
			return fmt.Errorf("pin of %s: %w", env, err)
		}
		tree[environmentFile(env)] = string(edited)
		return nil
	}, nil
}

// phrases are how marks are written.
var phrases = []struct {
	words string
	mark  mark
}{
	{"fails as a hook", markHookFails}, {"fails later", markLate}, {"fails under load", markLoaded}, {"fails", markFails}, {"hangs", markHangs}, {"cannot be asked", markErrs}, {"has no data", markNoData},
	{"is rejected", markRejected}, {"stops the apply", markStops}, {"stays", markStays}, {"is denied", markDenied}, {"cannot be judged", markUnjudged},
}

func contentOf(kind, name, value, marks string) (string, error) {
	if value == "broken" {
		return "this: [is not\n", nil
	}
	annotations := map[string]string{}
	for _, phrase := range strings.Split(marks, ",") {
		if phrase = strings.TrimSpace(phrase); phrase == "" {
			continue
		}
		m, where, err := parseMark(phrase)
		if err != nil {
			return "", err
		}
		annotations["sim/"+string(m)] = where
	}
	switch kind {
	case "pile":
		return pile(name, value, annotations)
	case "workload":
		return workload(name, value, annotations)
	}
	return document(kind, name, value, annotations)
}

func parseMark(phrase string) (mark, string, error) {
	for _, known := range phrases {
		rest, is := strings.CutPrefix(phrase, known.words+" ")
		if !is {
			continue
		}
		if rest == everywhere {
			return known.mark, everywhere, nil
		}
		if names, is := strings.CutPrefix(rest, "in "); is {
			where := strings.Split(names, " and ")
			for _, name := range where {
				if !namePattern.MatchString(name) {
					return "", "", fmt.Errorf("%q: want names of environments", names)
				}
			}
			return known.mark, strings.Join(where, ","), nil
		}
	}
	var words []string
	for _, known := range phrases {
		words = append(words, known.words)
	}
	return "", "", fmt.Errorf("%q: want one of %q, then `in staging`, `in staging and production` or `everywhere`", phrase, words)
}

// document writes one manifest.
func document(kind, name, value string, annotations map[string]string) (string, error) {
	metadata := map[string]any{"name": name}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	o := map[string]any{"metadata": metadata}
	switch kind {
	case "config":
		o["apiVersion"], o["kind"], o["data"] = "v1", "ConfigMap", map[string]string{"value": value}
	case "secret":
		o["apiVersion"], o["kind"], o["stringData"] = "v1", "Secret", map[string]string{"value": canary + value}
	case "volume":
		o["apiVersion"], o["kind"] = "v1", "PersistentVolumeClaim"
		o["spec"] = map[string]any{"accessModes": []string{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]string{"storage": value}}}
	case "migration", "rollback":
		hook := map[string]string{"migration": "pre-deploy", "rollback": "rollback"}[kind]
		annotations["chaperone.dev/hook"] = hook
		metadata["annotations"], metadata["name"] = annotations, kind+"-"+name
		o["apiVersion"], o["kind"] = "batch/v1", "Job"
		o["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"restartPolicy": "Never", "containers": []any{
			map[string]any{"name": "job", "image": "registry.example.org/" + name + ":" + value}}}}}
	}
	text, err := yaml.Marshal(o)
	return string(text), err
}

// pile is as many objects as its value says.
func pile(name, value string, annotations map[string]string) (string, error) {
	var a args
	if err := readNumber(&a, value); err != nil || a.numbers[0] > 100 {
		return "", fmt.Errorf("pile %s: %q: want a number, at most 100", name, value)
	}
	var documents []string
	for i := range a.numbers[0] {
		text, err := document("config", fmt.Sprintf("%s-%d", name, i), "1", annotations)
		if err != nil {
			return "", err
		}
		documents = append(documents, text)
	}
	return strings.Join(documents, "---\n"), nil
}

// parseEnvironmentChange reads `environment <name> [after <name>, …]` with what
// else its file says below.
func parseEnvironmentChange(text string, below []string) (change, error) {
	words, err := tokens(text)
	if err != nil {
		return nil, err
	}
	var a args
	if len(words) < 2 || len(words) > 2 && (words[2].text != "after" || len(words) == 3) {
		return nil, fmt.Errorf("%q: want `environment <name>` or `environment <name> after <name>, <name>`", text)
	}
	if err := readEnvironment(&a, words[1].text); err != nil {
		return nil, err
	}
	var after []string
	for _, word := range words[min(3, len(words)):] {
		after = append(after, word.text)
	}
	return environmentChange(a.envs[0], after, below)
}

func environmentFile(env promotion.ID) string {
	return path.Join(promotion.Dir, env.Pipeline, env.Name+".yaml")
}

// environmentChange writes an environment's file, and the directories that it
// needs where they are not there.
func environmentChange(env promotion.ID, after, below []string) (change, error) {
	said := map[string]any{}
	trimmed := unindented(below)
	if err := yaml.Unmarshal([]byte(trimmed), &said); err != nil {
		return nil, fmt.Errorf("environment %s: %w", env, err)
	}
	namespace := env.Pipeline + "-" + env.Name
	if target, is := said["target"].(map[string]any); is {
		if name, is := target["namespace"].(string); is {
			namespace = name
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\nspec:\n", promotion.APIVersion, promotion.Kind, env.Name)
	if len(after) > 0 {
		fmt.Fprintf(&b, "  after: [%s]\n", strings.Join(after, ", "))
	}
	if _, given := said["target"]; !given {
		fmt.Fprintf(&b, "  target: {namespace: %s}\n", namespace)
	}
	if _, given := said["verify"]; !given {
		b.WriteString("  verify: {timeout: 5m, settle: 20s}\n")
	}
	for line := range strings.Lines(trimmed) {
		b.WriteString("  " + line)
	}
	text := b.String()
	if _, given := said["data"]; !given {
		text = strings.TrimSuffix(text, "\n") + "\n  data: none\n"
	}
	return func(_ *driver, tree files) error {
		tree[environmentFile(env)] = text
		base, overlay := "base/"+env.Pipeline, "overlays/"+env.String()
		if _, found := tree[base+"/kustomization.yaml"]; !found {
			tree[base+"/kustomization.yaml"] = "resources: []\n"
		}
		tree[overlay+"/kustomization.yaml"] = "namespace: " + namespace + "\nresources: [../../../" + base + "]\n"
		if _, found := tree[overlay+"/settings.yaml"]; !found {
			settings, err := document("config", "settings", "1", nil)
			if err != nil {
				return err
			}
			tree[overlay+"/settings.yaml"] = settings
		}
		return nil
	}, nil
}

// unindented takes the indentation of the first line from all.
func unindented(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	depth := indent(lines[0])
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line[min(depth, indent(line)):] + "\n")
	}
	return b.String()
}
