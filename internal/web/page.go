package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

//go:embed page.css
var style string

// styleHash allows exactly our style by its content.
func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// pageData is what the page is written from.
type pageData struct {
	View
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
	data := pageData{Version: s.Version, Waiting: s.waitingFor()}
	if view := s.view.Load(); view != nil {
		data.View = *view
		data.Pipelines, data.Counts = arrange(view.Environments, s.Now())
	}
	page := data.page() // whole before the first byte is sent: half a table misleads
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, page)
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
