package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/promotion"
)

// What the installation alarms on exists: names, labels, and values of labels
// that an alert compares with a text.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{} // by metric and label
	for _, family := range families {
		values[family.GetName()] = nil
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				at := family.GetName() + " " + label.GetName()
				values[at] = append(values[at], label.GetValue())
			}
		}
	}
	for _, reason := range promotion.Reasons() {
		values["chaperone_environment reason"] = append(values["chaperone_environment reason"], string(reason))
	}
	for _, alert := range alerts(t) {
		selectors := regexp.MustCompile(`(chaperone_\w+)(\{[^}]*\})?`).FindAllStringSubmatch(alert.Expr, -1)
		if len(selectors) == 0 {
			t.Errorf("%s asks for nothing of the daemon: %s", alert.Alert, alert.Expr)
		}
		for _, selector := range selectors {
			if _, found := values[selector[1]]; !found {
				t.Errorf("%s: there is no %s", alert.Alert, selector[1])
			}
			for _, matcher := range regexp.MustCompile(`(\w+)=(~?)"([^"]*)"`).FindAllStringSubmatch(selector[2], -1) {
				wanted := strings.Split(matcher[3], "|")
				found := func(v string) bool { return slices.Contains(values[selector[1]+" "+matcher[1]], v) }
				if !slices.ContainsFunc(wanted, found) || matcher[1] == "reason" && slices.ContainsFunc(wanted, func(v string) bool { return !found(v) }) {
					t.Errorf("%s: no %s has %s %s", alert.Alert, selector[1], matcher[1], matcher[3])
				}
			}
		}
	}
}

type alert struct{ Alert, Expr string }

func alerts(t *testing.T) []alert {
	t.Helper()
	content, err := os.ReadFile("../../base/chaperone/monitoring.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []alert
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var rule struct {
			Spec struct{ Groups []struct{ Rules []alert } }
		}
		if err := yaml.Unmarshal([]byte(document), &rule); err != nil {
			t.Fatal(err)
		}
		for _, group := range rule.Spec.Groups {
			all = append(all, group.Rules...)
		}
	}
	if len(all) == 0 {
		t.Fatal("no alerts")
	}
	return all
}
