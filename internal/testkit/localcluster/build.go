package localcluster

import "chaperone.dev/chaperone/internal/testkit/program"

// Program is what runs. The variable may name one that is built already.
var Program = program.Program{Name: "localcluster", Env: "CHAPERONE_LOCALCLUSTER"}

// starting is the lock of who looks for the shared cluster, and starts it.
const starting = "localcluster.starting"
