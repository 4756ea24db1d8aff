// Package e2e holds the tests of the whole daemon: a real API server, real Git
// servers, real processes that are really killed. Nothing in it is a fake but
// the pods, which the local cluster plays. Between daemon and API server stands
// a proxy that sees every request, so that a test can say "now": kill the
// daemon the moment a stage is stored, or take the server away in the middle of
// an apply. Every wait has an end, and tells where everything stood by then.
package e2e
