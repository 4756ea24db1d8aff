package promotion

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// What the sample's environment files say in comments, to be put in force where
// there is a Prometheus, is valid and does what the comment says.
func TestShippedCommentsAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../environments/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d environment files, %v", len(files), err)
	}
	commented := regexp.MustCompile(`(?m)^    # ((?:metrics|prometheus):|  - \{)`)
	tried := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !commented.Match(content) {
			continue
		}
		tried++
		text := commented.ReplaceAllString(string(content), "    $1")
		text = strings.Replace(text, "watch: {for: 24h, every: 15m}", "watch: {for: 24h, every: 15m, revertWithin: 1h}", 1)
		if !strings.Contains(text, "    prometheus:") { // it is the daemon's setting
			text = strings.Replace(text, "    metrics:", "    prometheus: http://prometheus:9090\n    metrics:", 1)
		}
		id := ID{Pipeline: filepath.Base(filepath.Dir(file)), Name: strings.TrimSuffix(filepath.Base(file), ".yaml")}
		e, found, err := LoadFile(fstest.MapFS{path.Join("environments", id.String()+".yaml"): {Data: []byte(text)}}, id)
		if !found || err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if v := e.Verify; len(v.Metrics) != 2 || v.Metrics[0].Control == "" || v.Metrics[1].Baseline == nil || v.Watch.RevertWithin != time.Hour ||
			!strings.Contains(v.Metrics[0].Query+v.Metrics[0].Prometheus, e.Target.Namespace) {
			t.Errorf("%s: %+v, %+v", file, v.Metrics, v.Watch)
		}
	}
	if tried < 4 {
		t.Errorf("%d files have comments to try, want 4", tried)
	}
}
