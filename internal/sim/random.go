package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Random writes a scenario by chance: environments, what people push and ask
// for, what breaks around the daemon, and mishaps of its calls. In the end all
// that broke is mended, and the world must come to rest where it should.
func Random(seed uint64) (*Scenario, error) {
	g := &generator{rand: rand.New(rand.NewPCG(seed, 0x5eed)), subjects: []string{"begin"}}
	if seed%4 == 0 { // by chance of its own, so that the other worlds stay what they are
		g.steps = rand.New(rand.NewPCG(seed, 0x57e9))
	}
	g.world()
	for range 3 + g.rand.IntN(18) {
		g.something()
		g.pause()
	}
	g.mend()
	return Parse(fmt.Sprintf("seed-%d", seed), g.b.String())
}

// generator writes a scenario line by line.
type generator struct {
	rand     *rand.Rand
	b        strings.Builder
	envs     []string
	pinned   []string
	subjects []string
	mending  []string // lines that undo what is broken
	second   bool     // a second replica runs
	versions int
	steps    *rand.Rand // nil: nothing comes in steps
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

func (g *generator) often(share float64) bool { return g.rand.Float64() < share }

func pick[T any](g *generator, from ...T) T { return from[g.rand.IntN(len(from))] }

var people = []string{"ann@example.org", "bob@example.org", "dev@example.org", "eve@example.org"}

// world writes what there is at the beginning.
func (g *generator) world() {
	g.line("# Made by chance.")
	g.line("what cannot be done is left out")
	if g.often(0.7) {
		g.line("mishaps %s crashes %s", pick(g, "0.5%", "1%", "3%"), pick(g, "0%", "0.3%", "1%"))
	}
	g.line("poll every %s", pick(g, "30s", "1m", "3m"))
	if g.often(0.4) {
		g.line("webhooks")
	}
	g.line("group release-managers ann@example.org")
	g.line("group release-managers bob@example.org")
	names := []string{"development", "testing", "staging", "production"}
	for i, name := range names[:1+g.rand.IntN(len(names))] {
		var after []string
		for j := i - 1; j >= 0; j-- {
			if len(after) == 0 && g.often(0.85) || g.often(0.25) {
				after = append(after, names[j])
			}
		}
		g.environment("", name, after)
		g.envs = append(g.envs, name)
	}
	g.line("repository")
	g.line("  base app: v0")
	g.line("  base secret password: 1")
	if g.steps != nil {
		g.line("  base workload web: v0")
		g.line("  base workload jobs: v0")
	}
	if g.often(0.3) {
		g.line("  base volume data: 10Gi")
	}
}

// environment writes an environment with a file by chance.
func (g *generator) environment(margin, name string, after []string) {
	heading := "environment " + name
	if len(after) > 0 {
		heading += " after " + strings.Join(after, ", ")
	}
	g.line("%s%s", margin, heading)
	say := func(format string, args ...any) { g.line(margin+"  "+format, args...) }
	if g.often(0.1) {
		say("onFailure: hold")
	}
	if g.often(0.15) {
		say("drift: report")
	}
	if g.often(0.1) {
		say("data: phi")
	}
	if g.often(0.1) {
		say("prune: false")
	}
	if g.often(0.2) {
		say("maxRevertsPerDay: %d", g.rand.IntN(3))
	}
	g.strategies(say)
	if said := g.promotion(len(after) > 0); len(said) > 0 {
		say("promotion: {%s}", strings.Join(said, ", "))
		if strings.Contains(said[0], "pull-request") {
			g.pinned = append(g.pinned, name)
		}
	}
}

func (g *generator) promotion(hasUpstream bool) []string {
	var said []string
	switch {
	case hasUpstream && g.often(0.3):
		said = append(said, "mode: pull-request")
		if g.often(0.4) {
			said = append(said, pick(g, "approval: {from: [release-managers]}", "approval: {notAuthor: true}", "approval: {required: 2}"))
		}
	case g.often(0.15):
		said = append(said, "mode: schedule", pick(g, `schedule: "*/20 * * * *"`, `schedule: "0 * * * *"`, `schedule: "30 */2 * * *"`))
	}
	if hasUpstream && g.often(0.2) {
		said = append(said, pick(g, "soak: 5m", "soak: 30m"))
	}
	if g.often(0.1) {
		said = append(said, `windows: [{cron: "0 */2 * * *", duration: 1h}]`)
	}
	if g.often(0.08) {
		begin := time.Date(2026, 3, 2, 9, g.rand.IntN(90), 0, 0, time.UTC)
		said = append(said, fmt.Sprintf("freezes: [{from: %q, to: %q}]",
			begin.Format(time.RFC3339), begin.Add(time.Duration(10+g.rand.IntN(60))*time.Minute).Format(time.RFC3339)))
	}
	return said
}

// pause lets some time pass.
func (g *generator) pause() {
	switch {
	case g.often(0.35):
		g.line("wait %dms", 50+g.rand.IntN(3000))
	case g.often(0.5):
		g.line("wait %ds", 1+g.rand.IntN(60))
	case g.often(0.6):
		g.line("wait %dm", 1+g.rand.IntN(15))
	case g.often(0.7):
		g.line("wait until quiet, at most 20m")
	}
}

// something happens.
func (g *generator) something() {
	switch n := g.rand.IntN(100); {
	case n < 52:
		g.commit()
	case n < 62:
		g.promote()
	case n < 70:
		g.ask()
	case n < 88:
		g.breakdown()
	case n < 94:
		g.process()
	case n < 97:
		g.line("the clock jumps %s", pick(g, "5m ahead", "2h ahead", "30h ahead", "back 5m", "back 2h"))
	default:
		g.reshape()
	}
}

func (g *generator) subject(words string) string {
	g.versions++
	subject := fmt.Sprintf("%s %d", words, g.versions)
	g.subjects = append(g.subjects, subject)
	return subject
}

// commit is a commit by chance.
func (g *generator) commit() {
	if g.often(0.12) {
		g.line("revert %q by %s", pick(g, g.subjects...), pick(g, people...))
		return
	}
	if g.often(0.05) {
		g.line("revert the revert of %q by %s", pick(g, g.subjects...), pick(g, people...))
		return
	}
	if g.often(0.03) {
		g.line("force push %q by %s", pick(g, g.subjects...), pick(g, people...))
		return
	}
	subject := g.subject("change")
	switch {
	case g.often(0.12):
		g.line("merge %q by %s of %q by %s", "merge "+subject, pick(g, people...), subject, pick(g, people...))
	case g.often(0.06):
		g.line("during the next push, push %q by %s", subject, pick(g, people...))
	case g.often(0.04):
		g.line("force push %q on %q by %s", subject, pick(g, g.subjects...), pick(g, people...))
	default:
		g.line("push %q by %s", subject, pick(g, people...))
	}
	for range 1 + g.rand.IntN(2) {
		g.change()
	}
	if g.often(0.1) {
		g.line("  trailer Chaperone-Urgent: true")
	}
}

func (g *generator) change() {
	if g.workload() {
		return
	}
	where := pick(g, append([]string{"base", "base"}, g.envs...)...)
	name := pick(g, "app", "api", "cache", "text")
	env := pick(g, g.envs...)
	g.versions++
	content := fmt.Sprintf("v%d", g.versions)
	switch n := g.rand.IntN(100); {
	case n < 45:
	case n < 65:
		content += ", fails " + pick(g, "everywhere", "in "+env, "in "+env)
	case n < 69:
		content += ", hangs in " + env
	case n < 72:
		content += ", cannot be asked in " + env
	case n < 74:
		content += ", has no data in " + env
	case n < 78:
		content += ", is rejected in " + env
	case n < 80:
		content += ", stops the apply in " + env
	case n < 83:
		content += ", is denied in " + env
	case n < 85:
		content += ", cannot be judged in " + env
	case n < 87:
		content = "broken"
	case n < 88:
		content += ", stays in " + env
	case n < 93:
		g.migration(content, env)
		return
	case n < 95:
		g.line("  base volume data: %dGi", 5+g.rand.IntN(10))
		return
	case n < 97:
		g.line("  %s pile stones: %d", where, g.rand.IntN(16))
		return
	default:
		g.line("  remove %s %s", where, name)
		return
	}
	g.line("  %s %s: %s", where, name, content)
}

// migration is one with a way back, most of the time.
func (g *generator) migration(content, env string) {
	fails := ", fails as a hook in " + env
	g.line("  base migration move: %s", content+pick(g, "", "", fails))
	if g.often(0.75) {
		g.line("  base rollback move: %s", content+pick(g, "", "", "", fails))
	}
	if g.often(0.5) {
		g.line("  base app: %s, fails %s", content, pick(g, "everywhere", "in "+env))
	}
}

// promote moves pins.
func (g *generator) promote() {
	if len(g.pinned) == 0 {
		g.commit()
		return
	}
	env, who := pick(g, g.pinned...), pick(g, people...)
	switch n := g.rand.IntN(10); {
	case n < 5:
		g.line("merge the promotion of %s by %s", env, who)
	case n < 7:
		g.line("push %q by %s", g.subject("pin"), who)
		g.line("  %s pin: %q", env, pick(g, g.subjects[:len(g.subjects)-1]...))
	case n < 8:
		subject := g.subject("pin")
		g.line("merge %q by %s of %q by %s", "merge "+subject, pick(g, people...), subject, who)
		g.line("  %s pin: %q", env, pick(g, g.subjects[:len(g.subjects)-1]...))
		if g.often(0.5) {
			g.line("  trailer Chaperone-Override: it cannot wait")
		}
	case n < 9:
		g.line("delete the promotion branch of %s", env)
	default:
		g.line("push %q to the promotion branch of %s by %s", g.subject("meddling"), env, who)
		g.line("  base text: meddled")
	}
}

// ask is what people ask of the daemon.
func (g *generator) ask() {
	env, who := pick(g, g.envs...), pick(g, people...)
	switch n := g.rand.IntN(10); {
	case n < 3:
		g.line("pause %s %q by %s for %dm", env, "wait", who, 1+g.rand.IntN(60))
	case n < 4:
		g.line("pause %s %q by %s", env, "wait", who)
	case n < 6:
		g.line("resume %s", env)
	case n < 9:
		g.line("retry %s by %s", env, who)
	default:
		g.line("retry %q in %s by %s", pick(g, g.subjects...), env, who)
	}
}

// breakdown breaks something outside, and notes how to mend it.
func (g *generator) breakdown() {
	env := pick(g, g.envs...)
	broken := pick(g,
		[2]string{"git is down", "git is up"}, [2]string{"the branch is gone", "the branch is back"},
		[2]string{`git refuses pushes "protected"`, "git takes pushes"}, [2]string{`git refuses promotions "no"`, "git takes pushes"},
		[2]string{"the store is down", "the store is up"}, [2]string{"the cluster of " + env + " is down", "the cluster of " + env + " is up"},
		[2]string{"outage in " + env, "outage over in " + env}, [2]string{"outage in " + env, "outage over in " + env},
		[2]string{"checks of " + env + " cannot be asked", "checks of " + env + " work again"},
		[2]string{"checks of " + env + " have no data", "checks of " + env + " work again"},
		[2]string{"objects of " + env + " take 8m to be ready", "objects of " + env + " take 4s to be ready"},
		[2]string{"policies change", ""}, [2]string{fmt.Sprintf("policies deny \"v%d\"", g.versions), "policies change"},
		[2]string{"policies are gone", "policies are back"},
		[2]string{fmt.Sprintf("the cluster of %s refuses \"v%d\"", env, g.versions), "the cluster of " + env + " refuses nothing"},
		[2]string{"somebody changes config settings in " + env, ""}, [2]string{"somebody deletes config app in " + env, ""},
	)
	if i := slices.Index(g.mending, broken[1]); i >= 0 && g.often(0.7) {
		g.line("%s", broken[1])
		g.mending = slices.Delete(g.mending, i, i+1)
		return
	}
	g.line("%s", broken[0])
	if broken[1] != "" {
		g.mending = append(g.mending, broken[1])
	}
}

// process is what happens to the daemon's processes.
func (g *generator) process() {
	switch {
	case g.often(0.6):
		g.line("crash")
	case g.often(0.2):
		g.line("stop replica 1")
		g.pause()
		g.line("start replica 1")
	case g.second:
		g.line("%s", pick(g, "freeze replica 1", "thaw replica 1", "crash replica 2", "freeze replica 2", "thaw replica 2"))
	default:
		if g.often(0.6) {
			g.line("freeze replica 1")
		}
		g.line("start replica 2")
		g.second = true
	}
}

// reshape changes the environments themselves.
func (g *generator) reshape() {
	g.line("push %q by %s", g.subject("reshape"), pick(g, people...))
	name := pick(g, g.envs...)
	switch {
	case g.often(0.4):
		g.line("  environment extra after %s", name)
		g.line("    promotion: {soak: 1m}")
	case g.often(0.5):
		g.line("  environment %s", name)
		g.line("    target: {namespace: elsewhere, previous: leave}")
	case g.often(0.5):
		g.line("  remove environment %s", name)
		g.line("  environment %s-again", name)
		g.line("    target: {namespace: demo-%s}", name)
		g.line("    formerly: [demo/%s]", name)
	default:
		g.line("  remove environment %s", name)
	}
}

// mend puts everything right and waits for rest.
func (g *generator) mend() {
	g.line("no mishaps any more")
	for _, line := range g.mending {
		g.line("%s", line)
	}
	if g.second {
		g.line("thaw replica 1")
		g.line("stop replica 2")
	}
	g.line("wait until quiet")
	g.line("wait 3h")
	g.line("wait until quiet")
	g.line("expect everything in its place")
}
