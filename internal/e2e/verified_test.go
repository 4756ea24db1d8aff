package e2e

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// smoke is the change to a smoke test that runs an image, and says this.
func smoke(image, says string) map[string]string {
	return map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "secret.yaml", "smoke.yaml"),
		"base/demo/smoke.yaml": fmt.Sprintf(`apiVersion: batch/v1
kind: CronJob
metadata: {name: smoke}
spec:
  suspend: true
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        metadata: {annotations: {local.chaperone.dev/log: %q, local.chaperone.dev/log-repeat: "50"}}
        spec:
          restartPolicy: Never
          containers:
            - name: run
              image: %s
              env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: credentials, key: password}}}]
`, says, image),
	}
}

// What a failed smoke test wrote last is kept with its release, for those who may
// read Secrets, and nowhere else; the values of Secrets not even there.
func TestPitfall40_WhatASmokeTestWroteIsKeptWithItsRelease(t *testing.T) {
	quick(t)
	asks := usualVerify + "    jobs:\n      - {name: smoke, cronJob: smoke, timeout: 1m, logs: 4}\n"
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: asks}}, secret(canaryFirst, ""), smoke(image("smoke"), "all is well"))
	daemon := w.spawn(w.settings(nil))
	w.awaitRuns(development, w.first)
	bad := w.push("break it", smoke(image("smoke-exit-7"), "opens with $(PASSWORD)\nno such table: invoices"))
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, w.first, development, `job "smoke" failed after 1 failed pod`)
	const want = "smoke:\nno such table: invoices\nopens with <secret>\nno such table: invoices\nerror: run ends with exit code 7"
	if got := w.logOf(bad); got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
	if got := w.logOf(w.first); got != "" {
		t.Errorf("kept of a good release: %q", got)
	}
	w.seek(daemon, canaryFirst)
	for what, text := range w.stored() {
		if what != "stored configmaps" && strings.Contains(text, "invoices") {
			t.Errorf("%s tell what the application wrote", what)
		}
	}
	if strings.Contains(w.reverts()[0].Message, "invoices") || strings.Contains(daemon.log.String(), "invoices") {
		t.Error("the message of the revert, or the daemon's log, tells what the application wrote")
	}
}

// logOf is what is kept of a revision's release.
func (w *world) logOf(revision source.Revision) string {
	w.Helper()
	releases, err := w.store.Releases(w.Context(), development)
	if err != nil {
		w.Fatal(err)
	}
	logs, err := w.store.Logs(w.Context(), development)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range releases {
		if r.Release.Revision == revision {
			return state.LogOf(logs, r)
		}
	}
	w.Fatalf("no release of %s among %+v", revision, releases)
	return ""
}

// Containers that end and come back are ready whenever somebody looks. A few such
// ends are let pass, the kernel's for memory are not.
func TestEndsOfContainersAreTakenBack(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	good := w.push("stumble", version("1.1.0-restarts-2"))
	w.awaitRuns(development, good)
	bad := w.push("use too much", version("2.0.0-oom-1"))
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, good, development, "exited with code 137 (OOMKilled)")
	w.wantApp(development, "1.1.0-restarts-2")
}
