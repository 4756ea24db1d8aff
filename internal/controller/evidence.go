package controller

import (
	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// evidenceAt names what is recorded of the images of each pipeline. It stands
// beside the environments, and is read at head as they are: an image is scanned
// again long after it was pinned.
func evidenceAt(snapshot source.Snapshot, set promotion.Set) (map[string]string, error) {
	sums := map[string]string{}
	for _, pipeline := range set.Pipelines() {
		folder, err := evidence.List(snapshot, pipeline)
		if fault.IsTerminal(err) {
			sums[pipeline] = err.Error() // whoever asks for evidence there is told
			continue
		}
		if err != nil {
			return nil, err
		}
		if folder.Sum != "" {
			sums[pipeline] = folder.Sum
		}
	}
	return sums, nil
}

// otherEvidence are the pipelines of which something else is recorded by now:
// what was said of their releases is to be said anew.
func otherEvidence(before, after map[string]string) map[string]bool {
	other := map[string]bool{}
	for pipeline, sum := range after {
		if before[pipeline] != sum {
			other[pipeline] = true
		}
	}
	for pipeline := range before {
		if after[pipeline] == "" {
			other[pipeline] = true
		}
	}
	return other
}

// evidence of the images of this pipeline, to be read by who judges.
func (v *evaluation) evidence() (evidence.Folder, error) {
	if !v.recorded {
		return evidence.Folder{}, nil
	}
	snapshot, err := v.c.Source.Snapshot(v.head)
	if err != nil {
		return evidence.Folder{}, err
	}
	return evidence.List(snapshot, v.file.ID.Pipeline)
}
