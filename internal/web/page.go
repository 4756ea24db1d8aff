package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

var (
	//go:embed page.css
	style string
	//go:embed page.html
	pageText string
)

// page escapes by context, whatever a view's sentences hold.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"release": release,
	"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"lower":   func(p reconcile.Phase) string { return strings.ToLower(string(p)) },
	"mark":    mark,
}).Parse(pageText))

// styleHash allows exactly our style by its content.
func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// pageData is what the template is filled with.
type pageData struct {
	View
	Style     template.CSS
	Version   string
	Waiting   string
	Pipelines []pipeline
	Counts    []count
}

// pipeline keeps the view's order, which is that of promotion.
type pipeline struct {
	Name         string
	Environments []line
}

type line struct {
	Environment
	Ago string
}

type count struct {
	Phase reconcile.Phase
	N     int
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	data := pageData{Style: template.CSS(style), Version: s.Version, Waiting: s.waitingFor()}
	if view := s.view.Load(); view != nil {
		data.View = *view
		data.Pipelines, data.Counts = arrange(view.Environments, s.Now())
	}
	var page bytes.Buffer // whole before the first byte is sent: half a table misleads
	if err := pageTemplate.Execute(&page, data); err != nil {
		s.Log.Error("page not written", "path", r.URL.Path, "err", err)
		say(w, http.StatusInternalServerError, "the page cannot be written")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, page.Bytes())
}

func arrange(all []Environment, now time.Time) ([]pipeline, []count) {
	var pipelines []pipeline
	at := map[string]int{}
	phases := map[reconcile.Phase]int{}
	for _, e := range all {
		phases[e.Phase]++
		i, known := at[e.ID.Pipeline]
		if !known {
			i = len(pipelines)
			at[e.ID.Pipeline] = i
			pipelines = append(pipelines, pipeline{Name: e.ID.Pipeline})
		}
		pipelines[i].Environments = append(pipelines[i].Environments, line{e, ago(now.Sub(e.Since))})
	}
	var counts []count
	for _, p := range []reconcile.Phase{
		reconcile.PhaseReady, reconcile.PhaseProgressing, reconcile.PhaseWaiting, reconcile.PhaseHeld, reconcile.PhaseInvalid,
	} {
		if phases[p] > 0 {
			counts = append(counts, count{p, phases[p]})
		}
	}
	return pipelines, counts
}

// mark tells phases apart without colour.
func mark(p reconcile.Phase) string {
	switch p {
	case reconcile.PhaseReady:
		return "●"
	case reconcile.PhaseProgressing:
		return "◐"
	case reconcile.PhaseWaiting:
		return "○"
	}
	return "▲"
}

// release is the revision, as short as people say it; the page's title
// attribute has all of it.
func release(r reconcile.Release) string {
	if r.Revision == "" {
		return ""
	}
	return r.Revision.Short()
}

// ago rounds to what people want to know.
func ago(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.length); n == 1 {
			return "1 " + unit.name + " ago"
		} else if n > 1 {
			return fmt.Sprintf("%d %ss ago", n, unit.name)
		}
	}
	return "just now"
}
