package sim

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/sim/contract"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// The fakes pass what internal/app holds the real adapters against.

// inBubble runs cases where time is not real.
func inBubble[F any](t *testing.T, cases []contract.Case[F], fixture func(*testing.T, *Sim) F) {
	t.Helper()
	t.Parallel()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { c.Run(t, fixture(t, newSim(1))) })
		})
	}
}

// aLife is a process that nobody runs.
func aLife(s *Sim) *life {
	l := s.newLife(&replica{number: s.lives + 1, mirror: newMirror()})
	l.cancel = func() {}
	return l
}

func TestSourceContract(t *testing.T) {
	inBubble(t, contract.SourceCases(), func(t *testing.T, s *Sim) contract.SourceFixture {
		d := &driver{s: s, begun: true}
		made := func(c contract.Commit, on source.Revision) *commit {
			tree := files{}
			var parents []source.Revision
			if parent := s.git.commits[on]; parent != nil {
				tree, parents = edited(parent.files, c), []source.Revision{on}
			} else {
				tree = edited(tree, c)
			}
			if c.Merge != "" {
				parents = append(parents, c.Merge)
			}
			s.pace.nap(1) // two commits of one moment would be one
			return d.made(strings.TrimSuffix(c.Message, "\n"), "dev@example.org", tree, edit{}, parents)
		}
		put := func(c contract.Commit) source.Revision {
			branch, on := c.Branch, c.Parent
			if branch == "" {
				branch = mainBranch
			}
			if on == "" {
				on = s.git.refs[branch]
			}
			revision := made(c, on).Revision
			s.git.move(branch, revision)
			return revision
		}
		return contract.SourceFixture{
			Source:  sourcePort{aLife(s)},
			Another: func() controller.Source { return sourcePort{aLife(s)} },
			Commit:  put,
			Between: func(c contract.Commit) { s.git.between = append(s.git.between, func() { put(c) }) },
			Move:    func(branch string, to source.Revision) { s.git.move(branch, to) },
			Head:    func(branch string) source.Revision { return s.git.refs[branch] },
			Message: func(r source.Revision) string { return s.git.commits[r].Message },
			File:    func(at source.Revision, path string) string { return s.git.commits[at].files[path] },
			Refuse:  func(why string) { s.git.protected, s.git.protectedPromotions = why, why },
			Lose: func() {
				s.mishaps.orders = append(s.mishaps.orders, &order{op: "Git.Push", times: 1, kind: losesAnswer})
			},
			Down: func() { s.git.down = true },
			Up:   func() { s.git.down = false },
		}
	})
}

func edited(tree files, c contract.Commit) files {
	changed := files{}
	for path, content := range tree {
		changed[path] = content
	}
	for path, content := range c.Files {
		changed[path] = content
	}
	for _, path := range c.Delete {
		delete(changed, path)
	}
	return changed
}

func TestStoreContract(t *testing.T) {
	inBubble(t, contract.StoreCases(), func(t *testing.T, s *Sim) contract.StoreFixture {
		d := &driver{s: s, begun: true}
		locked := func(f func()) {
			s.mu.Lock()
			defer s.mu.Unlock()
			f()
		}
		ask := func(id promotion.ID, change func(*state.Requests)) {
			locked(func() {
				if err := d.request(id, change); err != nil {
					t.Error(err)
				}
			})
		}
		return contract.StoreFixture{
			Store: storePort{aLife(s)}, Other: storePort{aLife(s)},
			Pause: func(id promotion.ID, p *state.Pause) { ask(id, func(r *state.Requests) { r.Pause = p }) },
			Retry: func(id promotion.ID, r state.Retry) { ask(id, func(rs *state.Requests) { rs.Retry = &r }) },
			Delete: func(id promotion.ID) {
				locked(func() { delete(s.store.records, id); s.store.tell() })
			},
			Set: func(name string) manifest.Set { return simulated(t, "v1", configText(name)) },
		}
	})
}

func configText(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: NS}\n"
}

// simulated is a set as the simulation's renderer makes it.
func simulated(t *testing.T, namespace string, texts ...string) manifest.Set {
	t.Helper()
	var inputs []input
	for _, text := range texts {
		inputs = append(inputs, input{namespace, "a.yaml", strings.ReplaceAll(text, "NS", namespace)})
	}
	made, err := assemble(inputs)
	if err != nil {
		t.Fatal(err)
	}
	if made.set.Len() > 0 {
		sets.Store(made.set.Objects()[0], made)
	}
	return made.set
}

func TestClusterContract(t *testing.T) {
	inBubble(t, contract.ClusterCases(), func(t *testing.T, s *Sim) contract.ClusterFixture {
		env := promotion.Environment{
			ID: promotion.ID{Pipeline: "demo", Name: "staging"}, Target: promotion.Target{Namespace: "demo"}, Prune: true, MaxDeletePart: 0.5,
			Verify: promotion.Verify{Timeout: 60e9, Settle: 1e9},
		}
		s.truth(env.ID).tampered = true // nobody decides here, so that nobody is to blame
		at := func(kind, name string) manifest.ID { return manifest.ID{Kind: kind, Namespace: "demo", Name: name} }
		return contract.ClusterFixture{
			Cluster: clusterPort{aLife(s)}, Env: env,
			Set: func(texts ...string) manifest.Set { return simulated(t, "demo", texts...) },
			Value: func(name string) string {
				object, found := s.clusters.on("")[at("ConfigMap", name)]
				if !found {
					return ""
				}
				if object.byHand != "" {
					return object.byHand
				}
				_, rest, _ := strings.Cut(object.text, `"value":"`)
				value, _, _ := strings.Cut(rest, `"`)
				return value
			},
			Ran: func(name string) string {
				if _, found := s.clusters.on("")[manifest.ID{Group: "batch", Kind: "Job", Namespace: "demo", Name: name}]; !found {
					return ""
				}
				return strconv.Itoa(s.clusters.ran[hookKey{env.ID, name}])
			},
			Change: func(name, value string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.clusters.on("")[at("ConfigMap", name)].byHand = value
				s.clusters.tell(env.ID)
			},
			Delete: func(name string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.clusters.on(""), at("ConfigMap", name))
				s.clusters.tell(env.ID)
			},
			Volume: func(name string) bool { _, found := s.clusters.on("")[at("PersistentVolumeClaim", name)]; return found },
		}
	})
}
