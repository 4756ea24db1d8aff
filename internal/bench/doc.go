// Package bench measures the whole daemon, in a process of its own, on a local
// cluster of its own, with policies, status, inventory and verification as a
// user has them. Beside each figure stands the floor of the same run: a bare
// loop over the client library that sends the same requests with as many
// workers and does nothing else. It asserts what came of the work, never how
// long that took. It has tests only.
package bench
