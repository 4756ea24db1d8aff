package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/config"
)

func newRun(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Run the daemon", Args: exactly(0, "no arguments"),
		Long: `Run follows a repository and reconciles its environments until it is stopped.

Settings, strongest first: flags, CHAPERONE_* environment variables, files in the
directory --settings (a mounted ConfigMap or Secret, one file for each setting),
the file --config, defaults. Files are read anew when they change.

` + settingsHelp() + exitHelp,
		Example: "  chaperone run --config /etc/chaperone/config.yaml\n  chaperone run --source-url /srv/git/deployments.git --kubeconfig ~/.kube/config",
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]string{}
			cmd.Flags().Visit(func(f *pflag.Flag) { flags[f.Name] = f.Value.String() })
			return app.Serve(cmd.Context(), c.settings(flags), build(), nil)
		},
	}
	cmd.Flags().String(config.FlagFile, "", "configuration file")
	cmd.Flags().String(config.FlagSettings, "", "directory of mounted settings")
	for _, s := range config.Settings() {
		cmd.Flags().String(s.Flag(), "", usage(s))
	}
	return cmd
}

func usage(s config.Setting) string {
	if s.Default == "" {
		return s.Usage
	}
	return fmt.Sprintf("%s (default %s)", s.Usage, s.Default)
}

// settingsHelp lists the keys of the configuration file.
func settingsHelp() string {
	var b strings.Builder
	b.WriteString("Keys of the configuration file:\n")
	t := table{indent: 2}
	for _, s := range config.Settings() {
		t.add(s.Key, usage(s))
	}
	t.write(&b)
	return b.String()
}

// settings reads the daemon's configuration from where it is said to be.
func (c *command) settings(flags map[string]string) app.Settings {
	file, mounted := config.Places(flags, c.Environ)
	s := app.Settings{Log: c.logger}
	for _, path := range []string{file, mounted} {
		if path != "" {
			s.Files = append(s.Files, path)
		}
	}
	s.Load = func() (config.Config, error) {
		in := config.Input{Flags: flags, Environ: c.Environ, File: file, Settings: mounted}
		var err error
		if file != "" {
			if in.Content, err = readSetting(file); err != nil {
				return config.Config{}, err
			}
		}
		if mounted != "" {
			if in.Mounted, err = readMounted(mounted); err != nil {
				return config.Config{}, err
			}
		}
		return config.Load(in)
	}
	return s
}

const maxSetting = 1 << 20

func readSetting(file string) ([]byte, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer opened.Close()
	content, err := io.ReadAll(io.LimitReader(opened, maxSetting+1))
	if err == nil && len(content) > maxSetting {
		err = errors.New("more than 1 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", file, err)
	}
	return content, nil
}

// readMounted reads the files of a mounted ConfigMap or Secret.
func readMounted(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // ..data and its like
		}
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		if files[entry.Name()], err = readSetting(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// logger writes JSON unless a person is looking.
func (c *command) logger(settings config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.Log.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if settings.Log.Format == "text" || settings.Log.Format == "auto" && c.Logs {
		return slog.New(slog.NewTextHandler(c.Err, options))
	}
	return slog.New(slog.NewJSONHandler(c.Err, options))
}
