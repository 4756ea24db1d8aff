package web

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// markup is a page that is being written. It is written by hand: a program in
// which anything executes templates keeps every method that a template might
// name, a quarter of this one, on disk and resident.
type markup struct{ bytes.Buffer }

// tags is markup. Only a constant becomes it by itself, so that what a commit, a
// rule or a service wrote cannot.
type tags string

// put writes tags, and in them texts, which stay texts: between elements, and in
// attributes, which are therefore quoted.
func (m *markup) put(tags tags, texts ...string) {
	escaped := make([]any, 0, len(texts))
	for _, text := range texts {
		escaped = append(escaped, html.EscapeString(text))
	}
	fmt.Fprintf(m, string(tags), escaped...)
}

// maybe writes tags around a text, unless there is none.
func (m *markup) maybe(tags tags, text string) {
	if text != "" {
		m.put(tags, text)
	}
}

func (d pageData) page() []byte {
	m := &markup{}
	m.put(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="15">
<title>Chaperone: environments</title>
<style>`)
	m.WriteString(style)
	m.put("</style>\n</head>\n<body>\n")
	d.header(m)
	if len(d.Pipelines) > 0 {
		d.table(m)
	} else if d.Waiting == "" {
		m.put("\n<p>The source defines no environment. Add a file such as <code>environments/shop/development.yaml</code>.</p>")
	}
	m.put("\n<footer>The same for scripts: <a href=\"environments.json\">environments.json</a>")
	m.maybe(" · chaperone %s", d.Version)
	m.put("</footer>\n</body>\n</html>\n")
	return m.Bytes()
}

func (d pageData) header(m *markup) {
	m.put("<header>\n<h1>Chaperone</h1>")
	if len(d.Counts) > 0 {
		m.put("\n<ul class=\"counts\">")
		for _, c := range d.Counts {
			m.put(`<li class="%s">%s %s %s</li> `, lower(c.Phase), mark(c.Phase), fmt.Sprint(c.N), string(c.Phase))
		}
		m.put("</ul>")
	}
	m.put("\n</header>")
	if d.Head != "" {
		m.put("\n<p class=\"source\">")
		m.maybe("%s at ", d.Branch)
		m.put(`<code title="%s">%s</code>, looked at %s</p>`, string(d.Head), d.Head.Short(), utc(d.At))
	}
	m.maybe("\n<p class=\"alarm\" role=\"alert\">Starting: %s.</p>", d.Waiting)
	m.maybe("\n<p class=\"source\" role=\"status\">%s</p>", d.Notice)
	if d.SourceReason != "" {
		m.put("\n<p class=\"alarm\" role=\"alert\"><strong>%s</strong> %s</p>", string(d.SourceReason), d.SourceDetail)
	}
	if d.PoliciesRefused != "" {
		m.put("\n<p class=\"alarm\" role=\"alert\"><strong>%s</strong> The newest policies are refused, and the ones before stay in force: %s</p>",
			string(promotion.PolicyError), d.PoliciesRefused)
	}
}

func (d pageData) table(m *markup) {
	m.put("\n<div class=\"scroll\">\n<table>\n<caption>Every environment, in the order of promotion</caption>\n<thead><tr>")
	for _, column := range []string{"Environment", "Phase", "Why", "Running", "Wanted", "Last good", "Since"} {
		m.put(`<th scope="col">%s</th>`, column)
	}
	m.put("</tr></thead>")
	for _, p := range d.Pipelines {
		m.put("\n<tbody>\n<tr><th class=\"pipeline\" scope=\"rowgroup\" colspan=\"7\">%s</th></tr>", p.Name)
		for _, e := range p.Environments {
			e.row(m)
		}
		m.put("\n</tbody>")
	}
	m.put("\n</table>\n</div>")
}

func (e line) row(m *markup) {
	m.put("\n<tr>\n<th scope=\"row\" id=\"%s\">%s</th>", e.ID.String(), e.ID.Name)
	m.put("\n<td class=\"phase %s\">%s %s</td>", lower(e.Phase), mark(e.Phase), string(e.Phase))
	m.put("\n<td class=\"why\"><p><strong>%s</strong> %s</p>", string(e.Reason), e.Sentence)
	if e.Overridden {
		m.put(`<p class="override">▲ A break-glass override let in what runs here.</p>`)
	}
	m.maybe(`<p class="unblock">%s</p>`, e.Unblock)
	m.put("</td>")
	for _, r := range []reconcile.Release{e.Running, e.Wanted, e.LastGood} {
		m.release(r)
	}
	m.put("\n<td class=\"when\">")
	if !e.Since.IsZero() {
		m.put(`<time datetime="%s" title="%s">%s</time>`, e.Since.UTC().Format(time.RFC3339), utc(e.Since), e.Ago)
	}
	m.put("</td>\n</tr>")
}

// release is the revision, as short as people say it; the title has all of it.
func (m *markup) release(r reconcile.Release) {
	if r.Revision == "" {
		m.put("\n<td><span class=\"none\">none</span></td>")
		return
	}
	m.put("\n<td><code title=\"%s %s\">%s</code></td>", string(r.Revision), string(r.Digest), r.Revision.Short())
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func lower(p reconcile.Phase) string { return strings.ToLower(string(p)) }

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
