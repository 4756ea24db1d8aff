package config

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/strictyaml"
)

const envPrefix = "CHAPERONE_"

// Where the configuration file and the directory of mounted files are said to
// be: by flags of these names, or by these variables.
const (
	FlagFile     = "config"
	FlagSettings = "settings"
	EnvFile      = envPrefix + "CONFIG"
	EnvSettings  = envPrefix + "SETTINGS"
)

// noSettings are variables of ours that set nothing: the places above, and the
// program that the tests and the tour use as their cluster.
var noSettings = []string{EnvFile, EnvSettings, envPrefix + "LOCALCLUSTER"}

// Input is what the places of settings hold. Reading them is the caller's.
type Input struct {
	Flags    map[string]string // those given, by name without dashes
	Environ  []string          // as os.Environ has it
	Settings string            // the mounted directory, for messages
	Mounted  map[string][]byte // its files by name; ..data and the like are passed over
	File     string            // the configuration file, for messages
	Content  []byte
}

// Places tells where to find the configuration file and the mounted directory;
// "" is nowhere.
func Places(flags map[string]string, environ []string) (file, settings string) {
	env := variables(environ)
	file, settings = env[EnvFile], env[EnvSettings]
	if given, is := flags[FlagFile]; is {
		file = given
	}
	if given, is := flags[FlagSettings]; is {
		settings = given
	}
	return file, settings
}

// Load puts the settings together. The error has everything that is wrong, each
// with its place.
func Load(in Input) (Config, error) {
	var c Config
	var problems []error
	for _, s := range Settings() {
		if s.Default == "" {
			continue
		}
		if err := s.read(&c, s.Default); err != nil {
			problems = append(problems, fmt.Errorf("default of %s: %w", s.Key, err))
		}
	}
	problems = append(problems,
		readFile(&c, in.File, in.Content),
		readMounted(&c, in.Settings, in.Mounted),
		readEnviron(&c, in.Environ),
		readFlags(&c, in.Flags))
	if err := errors.Join(problems...); err != nil {
		return Config{}, err
	}
	if err := c.complete(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func readFile(c *Config, file string, content []byte) error {
	document := strictyaml.Parse(file, content)
	objects := map[string]*strictyaml.Object{"": document.Root()}
	for _, s := range Settings() {
		group, name, nested := strings.Cut(s.Key, ".")
		if !nested {
			group, name = "", s.Key
		}
		if objects[group] == nil {
			objects[group] = objects[""].Object(group)
		}
		if s.tree != nil {
			s.tree(c, objects[group].Object(name))
			continue
		}
		v := objects[group].Value(name)
		if text, written := v.Scalar(); written {
			if err := s.read(c, text); err != nil {
				v.Problem("%v", err)
			}
		}
	}
	return document.Err()
}

func readMounted(c *Config, directory string, files map[string][]byte) error {
	byName := map[string]Setting{}
	for _, s := range Settings() {
		byName[s.Key] = s
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, ".") {
			continue
		}
		problems = append(problems, readNamed(c, byName, name, path.Join(directory, name), strings.TrimSpace(string(files[name]))))
	}
	return errors.Join(problems...)
}

func readEnviron(c *Config, environ []string) error {
	byName := map[string]Setting{}
	for _, s := range Settings() {
		byName[s.Env()] = s
	}
	given := variables(environ)
	for _, name := range noSettings {
		delete(given, name)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := byName[name]; !known && serviceLink.MatchString(name) {
			continue
		}
		problems = append(problems, readNamed(c, byName, name, name, given[name]))
	}
	return errors.Join(problems...)
}

func readFlags(c *Config, flags map[string]string) error {
	byName := map[string]Setting{}
	for _, s := range Settings() {
		byName[s.Flag()] = s
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if name == FlagFile || name == FlagSettings {
			continue
		}
		problems = append(problems, readNamed(c, byName, name, "--"+name, flags[name]))
	}
	return errors.Join(problems...)
}

// readNamed sets one. An empty text is as good as none: manifests that are
// filled in by a tool often have them.
func readNamed(c *Config, byName map[string]Setting, name, place, text string) error {
	s, known := byName[name]
	if !known {
		near := strictyaml.Nearest(name, slices.Sorted(maps.Keys(byName)))
		if near == "" {
			return fmt.Errorf("%s: unknown setting; `chaperone run --help` lists them", place)
		}
		return fmt.Errorf("%s: unknown setting; did you mean %q?", place, near)
	}
	if text == "" {
		return nil
	}
	if err := s.read(c, text); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return nil
}

// serviceLink matches what Kubernetes puts into every container for each
// Service beside it: one named chaperone, or chaperone-web, gives variables that
// begin like ours.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

func variables(environ []string) map[string]string {
	given := map[string]string{}
	for _, entry := range environ {
		if name, value, found := strings.Cut(entry, "="); found && strings.HasPrefix(name, envPrefix) {
			given[name] = value
		}
	}
	return given
}
