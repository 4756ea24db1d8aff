package signature

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// errUnsigned: the commit has no signature.
var errUnsigned = errors.New("it is not signed")

const (
	header      = "gpgsig"
	maxArmored  = 64 << 10  // of a signature; git's own are a few kilobytes
	maxHeaders  = 256 << 10 // bytes; mergetags bring some
	notAsGitHas = "the commit is not as git writes it: "
)

// split takes a commit object apart into what is signed and the signature: as
// git does where git wrote it, and never where it would have to be guessed
// which of two texts people were shown. Git itself takes several signatures for
// one and leaves headers that begin with gpgsig out of what is signed.
func split(object []byte) (payload []byte, armored string, err error) {
	if bytes.IndexByte(object, 0) >= 0 {
		return nil, "", errors.New(notAsGitHas + "it holds a NUL byte")
	}
	end := bytes.Index(object, []byte("\n\n"))
	if end < 0 {
		return nil, "", errors.New(notAsGitHas + "it has no message")
	}
	if end > maxHeaders {
		return nil, "", fmt.Errorf("%smore than %d bytes of headers", notAsGitHas, maxHeaders)
	}
	fields, err := fields(string(object[:end+1]))
	if err != nil {
		return nil, "", err
	}
	if err := inOrder(fields); err != nil {
		return nil, "", err
	}
	payload = make([]byte, 0, len(object))
	for _, f := range fields {
		if f.name != header {
			payload = append(payload, f.text...)
			continue
		}
		armored = unfolded(f.text)
	}
	if armored == "" {
		return nil, "", errUnsigned
	}
	if len(armored) > maxArmored {
		return nil, "", fmt.Errorf("its signature is larger than %d bytes", maxArmored)
	}
	return append(payload, object[end+1:]...), armored, nil
}

// field is one header with the lines that continue it.
type field struct{ name, text string }

var fieldName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)

func fields(headers string) ([]field, error) {
	var all []field
	start, at := 0, 0
	for line := range strings.Lines(headers) {
		at += len(line)
		if strings.HasPrefix(line, " ") {
			if len(all) == 0 {
				return nil, errors.New(notAsGitHas + "it begins with a blank")
			}
			all[len(all)-1].text = headers[start:at]
			continue
		}
		name, _, found := strings.Cut(line, " ")
		if !found || !fieldName.MatchString(name) {
			return nil, errors.New(notAsGitHas + "a header has no name")
		}
		start = at - len(line)
		all = append(all, field{name, line})
	}
	return all, nil
}

var (
	hashLine   = regexp.MustCompile(`^(tree|parent) [0-9a-f]{40}\n$`)
	personLine = regexp.MustCompile(`^(author|committer) [^<>\n]*<[^<>\n]*> -?[0-9]{1,18} [-+][0-9]{4}\n$`)
)

// inOrder: tree, parents, author, committer; then what else there is, each of it
// once but for mergetags.
func inOrder(all []field) error {
	rest := all
	next := func(name string, line *regexp.Regexp) bool {
		if len(rest) == 0 || rest[0].name != name || !line.MatchString(rest[0].text) {
			return false
		}
		rest = rest[1:]
		return true
	}
	tree := next("tree", hashLine)
	for next("parent", hashLine) {
	}
	if !tree || !next("author", personLine) || !next("committer", personLine) {
		return errors.New(notAsGitHas + "want tree, parents, author and committer, in this order")
	}
	seen := []string{"tree", "parent", "author", "committer"}
	for _, f := range rest {
		switch {
		case slices.Contains(seen, f.name):
			return fmt.Errorf("%stwice %s", notAsGitHas, f.name)
		case f.name != header && strings.HasPrefix(f.name, header):
			return fmt.Errorf("%s%s is not signed by anything", notAsGitHas, f.name)
		case f.name != "mergetag":
			seen = append(seen, f.name)
		}
	}
	return nil
}

// unfolded is the value of a header of several lines.
func unfolded(text string) string {
	_, value, _ := strings.Cut(text, " ")
	return strings.ReplaceAll(value, "\n ", "\n")
}

// Signed puts a signature into a commit object that has none, where git has it:
// after the headers that git writes.
func Signed(payload []byte, armored string) ([]byte, error) {
	if _, _, err := split(payload); !errors.Is(err, errUnsigned) {
		return nil, fmt.Errorf("sign commit: want one that git would write, without a signature: %w", err)
	}
	end := bytes.Index(payload, []byte("\n\n")) + 1
	var b bytes.Buffer
	b.Write(payload[:end])
	b.WriteString(header + " " + strings.ReplaceAll(strings.TrimRight(armored, "\n"), "\n", "\n ") + "\n")
	b.Write(payload[end:])
	return b.Bytes(), nil
}
