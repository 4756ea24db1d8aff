package preview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxSettings bounds how many fields of one file are told, maxSetting a value.
const (
	maxSettings = 100
	maxSetting  = 200
)

// Settings are the fields that differ between two versions of an environment's
// file, by path, but for its pin. Headers that checks send may hold a password,
// so their values are not shown. What is no YAML has no fields.
func Settings(before, after []byte) []Setting {
	old, now := fields(before), fields(after)
	all := maps.Clone(old)
	maps.Copy(all, now)
	var settings []Setting
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if old[field] == now[field] || field == "revision" {
			continue
		}
		if len(settings) == maxSettings {
			return append(settings, Setting{Field: "(more)"})
		}
		settings = append(settings, Setting{field, hide(field, old[field]), hide(field, now[field])})
	}
	return settings
}

func hide(field, value string) string {
	if value != "" && strings.Contains(field, ".headers.") {
		return "(not shown)"
	}
	return clip(value, maxSetting)
}

// fields are the leaves of a file's spec, as JSON.
func fields(content []byte) map[string]string {
	flat := map[string]string{}
	var file map[string]any
	if yaml.Unmarshal(content, &file) == nil {
		flatten(flat, "", file["spec"])
	}
	return flat
}

func flatten(into map[string]string, at string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, entry := range value {
			flatten(into, strings.TrimPrefix(at+"."+key, "."), entry)
		}
	case []any:
		if !slices.ContainsFunc(value, nested) {
			into[at] = encode(value)
			return
		}
		for i, entry := range value {
			flatten(into, fmt.Sprintf("%s[%s]", at, nameOf(entry, i)), entry)
		}
	case nil:
	default:
		into[at] = encode(value)
	}
}

func nested(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// nameOf is how people find an entry of a list again.
func nameOf(entry any, i int) string {
	fields, _ := entry.(map[string]any)
	if name, found := fields["name"].(string); found {
		return name
	}
	return fmt.Sprint(i)
}

func encode(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "(cannot be shown)"
	}
	return strings.TrimSpace(text.String())
}
