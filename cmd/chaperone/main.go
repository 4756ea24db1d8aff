// Command chaperone accompanies every change from development to production,
// and takes it back home when it misbehaves.
package main

import (
	"os"

	"chaperone.dev/chaperone/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.System())) }
