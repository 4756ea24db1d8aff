package promotion

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// Defaults and bounds of what is checked of pods and Jobs.
const (
	DefaultRestarts   = 2
	DefaultJobTimeout = 10 * time.Minute
	DefaultLogs       = 20

	maxRestarts = 1000
	maxJobs     = 20
	maxRetries  = 10
	maxLogs     = 100
)

func decodeRestarts(o *strictyaml.Object) Restarts {
	return Restarts{
		Max:      o.Int("max", DefaultRestarts, 0, maxRestarts),
		OOMKills: o.Int("oomKills", 0, 0, maxRestarts),
		Written:  o.Present(),
	}
}

func decodeJobs(verify *strictyaml.Object, data Data) []JobCheck {
	limit(verify.Value("jobs"), maxJobs)
	lines := DefaultLogs
	if data == DataPHI {
		lines = 0
	}
	var all []JobCheck
	for _, o := range verify.Objects("jobs") {
		o.Require("name", "want a short name, such as smoke: what a failure is reported under")
		o.Require("cronJob", "want the name of a suspended CronJob of the release, of which the Job is made")
		job := JobCheck{
			Name:    o.String("name", "", checkLabel),
			CronJob: o.String("cronJob", "", checkSubdomain),
			Timeout: o.Duration("timeout", DefaultJobTimeout, time.Second, maxVerify),
			Retries: o.Int("retries", 0, 0, maxRetries),
			Logs:    o.Int("logs", lines, 0, maxLogs),
		}
		if job.Name != "" && slices.ContainsFunc(all, func(other JobCheck) bool { return other.Name == job.Name }) {
			o.Value("name").Problem("%q names a job above; want a name of its own", job.Name)
			continue
		}
		all = append(all, job)
	}
	return all
}
