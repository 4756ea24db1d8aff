package sim

// strategies has the workloads of an environment come in steps.
func (g *generator) strategies(say func(string, ...any)) {
	if g.steps == nil || g.steps.IntN(4) == 0 {
		return
	}
	kinds := []string{
		"blueGreen: {service: %s, keep: 30s}", "blueGreen: {service: %s, keep: 0s, preview: 1m}",
		"canary: {service: %s, steps: [{weight: 10, for: 20s}, {weight: 50, for: 20s}]}", "canary: {service: %s, steps: [{weight: 30, for: 2m}]}",
	}
	say("strategies:")
	for _, name := range []string{"web", "jobs"} {
		if g.steps.IntN(3) > 0 || name == "web" {
			say("  - {workload: Deployment/"+name+", "+kinds[g.steps.IntN(len(kinds))]+"}", name)
		}
	}
}

// workload changes one of those that come in steps, now and then.
func (g *generator) workload() bool {
	if g.steps == nil || g.steps.IntN(2) == 0 {
		return false
	}
	g.versions++
	env := g.envs[g.steps.IntN(len(g.envs))]
	marks := []string{"", "", "", "", ", fails in " + env, ", fails under load in " + env, ", hangs in " + env, ", is rejected in " + env, ", is denied in " + env, ", has no data in " + env}
	name := []string{"web", "web", "jobs"}[g.steps.IntN(3)]
	g.line("  base workload %s: v%d%s", name, g.versions, marks[g.steps.IntN(len(marks))])
	if g.steps.IntN(8) == 0 {
		g.migration("m"+name, env)
	}
	return true
}
