package render

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// secretSource is one entry of a secret generator.
type secretSource struct {
	literal string // KEY=VALUE
	file    string // name in the snapshot, perhaps through links
}

// minHidden is the shortest value that is looked for. Hiding shorter ones
// would tear holes into every word.
const minHidden = 4

// maxMessage bounds an error; kustomize prints whole objects into some.
const maxMessage = 2_000

var (
	printedConfig = regexp.MustCompile("(?s) with config: `.*`")
	// printedNest is what kustomize first tried with a directory, at every level.
	printedNest   = regexp.MustCompile(`accumulation err='accumulating resources from '[^']*': '[^']*' must resolve to a file': `)
	printedMemory = regexp.MustCompile(` ?&\{0x[0-9a-f]+[^}]*\}`)
	printedBytes  = regexp.MustCompile(`\[\d{1,3}( \d{1,3})*\]`)
	printedJSON   = regexp.MustCompile(`(?s)(decoding|JsonOp=|for patch) ?\[.*\]`)
	printedRefs   = regexp.MustCompile(`(?s)\s*\*\*\*\* Too many possible referral targets.*`)
	printedPatch  = regexp.MustCompile(`(?s)\[patch: ".*"\]`)
)

// clean makes kustomize's error fit for people: names as in the repository,
// no printed configurations, no secret values, bounded.
func clean(message string, hidden []string) string {
	message = printedConfig.ReplaceAllString(message, "")
	message = printedPatch.ReplaceAllString(message, "inline patch")
	message = printedNest.ReplaceAllString(message, "")
	message = printedMemory.ReplaceAllString(message, "")
	message = printedJSON.ReplaceAllString(message, "$1 a JSON patch")
	message = printedRefs.ReplaceAllString(message, "")
	message = printedBytes.ReplaceAllString(message, "")
	message = anchorName.ReplaceAllString(message, "unknown anchor")
	pairs := make([]string, 0, 2*len(hidden))
	for _, value := range hidden {
		pairs = append(pairs, value, "<secret>")
	}
	message = strings.NewReplacer(pairs...).Replace(message)
	message = strings.ReplaceAll(message, mount+"/", "")
	message = strings.TrimSpace(strings.ReplaceAll(message, mount, "."))
	if runes := []rune(message); len(runes) > maxMessage {
		message = string(runes[:maxMessage]) + "…"
	}
	return message
}

// hidden are all spellings of all secret values that this build has read, the
// longest first. It is asked for only once something went wrong.
func (s *survey) hidden() []string {
	found := map[string]bool{}
	for _, source := range s.secrets {
		_, value, _ := strings.Cut(source.literal, "=")
		spell(found, value)
		spell(found, source.literal)
		if source.file == "" {
			continue
		}
		if real, n, err := s.tree.resolve(source.file); err == nil && n.kind == regular {
			content := string(s.tree.content[real])
			spell(found, content)
			for line := range strings.Lines(content) {
				_, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				spell(found, value)
			}
		}
	}
	for _, content := range s.tree.content {
		secretObjects(found, string(content), 2)
	}
	values := make([]string, 0, len(found))
	for value := range found {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return values
}

// spell adds a value, its lines, and how Go and Secrets write them.
func spell(found map[string]bool, value string) {
	spellings := append(strings.Split(value, "\n"), value)
	if len(value) >= 2 {
		spellings = append(spellings, strings.Trim(value, `"'`))
	}
	for _, spelling := range spellings {
		spelling = strings.TrimSpace(spelling)
		if len(spelling) < minHidden {
			continue
		}
		quoted := strconv.Quote(spelling)
		found[spelling] = true
		found[quoted[1:len(quoted)-1]] = true
		found[base64.StdEncoding.EncodeToString([]byte(spelling))] = true
	}
	if len(value) >= minHidden {
		found[base64.StdEncoding.EncodeToString([]byte(value))] = true
	}
}

// secretObjects adds the values of Secrets in a text, and in the texts inside
// it as far down as depth: a patch may stand inline in a kustomization.
func secretObjects(found map[string]bool, text string, depth int) {
	if depth == 0 || !strings.Contains(text, "Secret") {
		return
	}
	documents, err := parse(text)
	if err != nil || examine(documents) != nil {
		return
	}
	for _, d := range documents {
		walkSecrets(found, d.node, depth)
	}
}

func walkSecrets(found map[string]bool, n *yaml.Node, depth int) {
	if n.Kind == yaml.ScalarNode {
		secretObjects(found, n.Value, depth-1)
		return
	}
	if n.Kind == yaml.MappingNode && field(n, "kind") != nil && field(n, "kind").Value == "Secret" {
		for _, name := range []string{"data", "stringData"} {
			everyScalar(field(n, name), func(value string) {
				spell(found, value)
				if plain, err := base64.StdEncoding.DecodeString(value); err == nil {
					spell(found, string(plain))
				}
			})
		}
	}
	for _, child := range n.Content {
		walkSecrets(found, child, depth)
	}
}

func field(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func everyScalar(n *yaml.Node, visit func(string)) {
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode:
		visit(n.Value)
	case n.Kind == yaml.AliasNode:
		everyScalar(n.Alias, visit)
	default:
		for _, child := range n.Content {
			everyScalar(child, visit)
		}
	}
}
