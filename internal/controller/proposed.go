package controller

import (
	"context"
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// textRoom is what the text of a pull request keeps for its other parts.
const textRoom = 500

// promotes is the pull request of a promotion: its commit's message, and what
// merging it does. Where that cannot be found out now, one that is open keeps its
// text; a new one is opened without, for people wait for it.
func (p *pulls) promotes(ctx context.Context, id promotion.ID, commit source.Commit, branch string, open string) (want forge.Proposal, err error) {
	want = proposalOf(commit, branch, p.c.Base, fmt.Sprintf("Merging this promotes **%s**.", id))
	if p.c.Previews == nil {
		return want, nil
	}
	p.mu.Lock()
	head, records := p.head, p.records
	p.mu.Unlock()
	found, err := p.c.Previews.Of(ctx, head, commit.Revision)
	if err != nil {
		if open = strings.ReplaceAll(open, "\r\n", "\n"); strings.HasPrefix(open, strings.TrimSpace(want.Body)) {
			want.Body = open
		} else {
			want.Body += "\nWhat it changes could not be found out yet, and is told here once it is.\n"
		}
		return want, fmt.Errorf("preview of proposal %s: %w", commit.Revision.Short(), err)
	}
	found = found.Only(id)
	for i, e := range found.Environments {
		found.Environments[i].Evidence = append(e.Evidence, e.Known(upstreamOf(e, records))...)
	}
	want.Body += "\n" + found.Markdown(preview.Layout{Title: "What merging this does", Limit: forge.MaxBody - len(want.Body) - textRoom})
	return want, nil
}

// upstreamOf are the records of what was verified before. What holds the
// environment itself now is told where it changes, and not here.
func upstreamOf(e preview.Environment, records map[promotion.ID]preview.Record) map[promotion.ID]preview.Record {
	upstream := map[promotion.ID]preview.Record{}
	for _, id := range e.After {
		if record, known := records[id]; known {
			upstream[id] = record
		}
	}
	delete(upstream, e.ID)
	return upstream
}

// recordsOf is what the daemon knows of all environments.
func recordsOf(view View) map[promotion.ID]preview.Record {
	records := make(map[promotion.ID]preview.Record, len(view.Environments))
	for _, e := range view.Environments {
		records[e.ID] = preview.Record{Status: e.Status, Message: e.Message, Journal: e.Journal}
	}
	return records
}
