// Command localforge is a real Gitea of one release, for tests. It guarantees
// that nothing of it is left behind: it ends, and removes its directory, as
// soon as its owner's end of a pipe is closed, however the owner ended. What
// it takes, Gitea's own commands and settings apart, is in the environment:
//
//	LOCALFORGE_OWNER  number of the file descriptor that the owner holds open
//	LOCALFORGE_DIR    directory to remove at the end
//
// Gitea's templates and translations are read where Go keeps its module.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
	"github.com/urfave/cli/v3"
)

const module = "code.gitea.io/gitea"

func main() {
	setting.StaticRootPath = moduleDir()
	setting.AppVer = version()
	setting.AppBuiltWith = " built with " + runtime.Version()
	setting.AppStartTime = time.Now().UTC()
	cli.OsExiter = func(code int) {
		log.GetManager().Close()
		os.Exit(code)
	}
	dir, err := watchOwner()
	if err != nil {
		fmt.Fprintln(os.Stderr, "localforge:", err)
		os.Exit(2)
	}
	_ = cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{Version: setting.AppVer}), os.Args...) // it reports its errors
	log.GetManager().Close()
	if dir != "" {
		_ = os.RemoveAll(dir) // a temporary directory; nobody is left to be told
	}
}

// moduleDir is where the compiler found Gitea.
func moduleDir() string {
	file, _ := runtime.FuncForPC(reflect.ValueOf(cmd.NewMainApp).Pointer()).FileLine(0)
	return filepath.Dir(filepath.Dir(file))
}

// version is the release that this was built from: clients ask for it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "0.0.0"
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return strings.TrimPrefix(dep.Version, "v")
		}
	}
	return "0.0.0"
}

// endGrace is for requests that are being answered when the owner has gone.
const endGrace = 10 * time.Second

// watchOwner ends the program with its owner, and tells which directory ends with
// it. Hooks are the same program: they must inherit neither.
func watchOwner() (dir string, err error) {
	text, dir := os.Getenv("LOCALFORGE_OWNER"), os.Getenv("LOCALFORGE_DIR")
	if err := errors.Join(os.Unsetenv("LOCALFORGE_OWNER"), os.Unsetenv("LOCALFORGE_DIR")); text == "" || err != nil {
		return "", err
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return "", fmt.Errorf("LOCALFORGE_OWNER is %q; want a file descriptor above 2", text)
	}
	syscall.CloseOnExec(fd)
	owner := os.NewFile(uintptr(fd), "owner")
	go func() {
		_, _ = io.Copy(io.Discard, owner)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(endGrace)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}()
	return dir, nil
}
