package app

import (
	"errors"
	"fmt"
	"log/slog"
)

// teardown ends what was begun, the last first, each by name.
type teardown struct {
	log   *slog.Logger
	steps []step
}

type step struct {
	name string
	end  func() error
}

// later says what to do at the end.
func (t *teardown) later(name string, end func() error) {
	t.steps = append(t.steps, step{name, end})
}

func (t *teardown) takeDown() error {
	var all error
	for len(t.steps) > 0 {
		last := t.steps[len(t.steps)-1]
		t.steps = t.steps[:len(t.steps)-1]
		t.log.Debug("take down", "part", last.name)
		if err := last.end(); err != nil {
			all = errors.Join(all, fmt.Errorf("take down %s: %w", last.name, err))
		}
	}
	return all
}
