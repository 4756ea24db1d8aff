package gogit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"

	"chaperone.dev/chaperone/internal/source"
)

const (
	mainRef plumbing.ReferenceName = "refs/heads/main"
	tip                            = "3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99"
	zero                           = "0000000000000000000000000000000000000000"
)

// lines encodes pkt-lines; an empty one is a flush.
func lines(all ...string) string {
	var b bytes.Buffer
	e := pktline.NewEncoder(&b)
	for _, line := range all {
		if line == "" {
			_ = e.Flush()
			continue
		}
		_ = e.EncodeString(line)
	}
	return b.String()
}

func TestReadAdvert(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in  string
		tip       string
		empty     bool
		wantError string
	}{
		{name: "over SSH", in: lines(tip+" HEAD\x00side-band-64k agent=x\n", tip+" refs/heads/main\n", ""), tip: tip},
		{name: "over HTTP", in: lines("# service=git-upload-pack\n", "", tip+" refs/heads/main\x00a b\n", ""), tip: tip},
		{name: "another branch", in: lines(tip+" refs/heads/mains\x00a\n", tip+" refs/heads/x/refs/heads/main\n", "")},
		{name: "a tag of that name", in: lines(tip+" refs/tags/main\x00a\n", tip+" refs/tags/main^{}\n", "")},
		{name: "shallow", in: lines(tip+" refs/heads/main\x00a\n", "shallow "+tip, ""), tip: tip},
		{name: "empty", in: lines(zero+" capabilities^{}\x00side-band-64k\n", ""), empty: true},
		{name: "empty, old server", in: lines(""), empty: true},
		{name: "empty, old server over HTTP", in: lines("# service=git-upload-pack\n", "", ""), empty: true},
		{name: "refusal", in: lines("ERR access denied or repository not exported\n"), wantError: "the server says: access denied"},
		{name: "nothing", wantError: "unexpected EOF"},
		{name: "cut off", in: lines(tip + " refs/heads/main\x00a\n"), wantError: "unexpected EOF"},
		{name: "a page", in: "<!DOCTYPE html><html>", wantError: "not as a Git server"},
		{name: "nonsense", in: lines("hello\n", ""), wantError: "not as a Git server"},
		{name: "short hash", in: lines(tip[:38]+" refs/heads/main\x00a\n", ""), wantError: "not as a Git server"},
		{name: "SHA-256", in: lines(tip+tip[:24]+" refs/heads/main\x00object-format=sha256\n", ""), wantError: "SHA-256"},
	} {
		got, err := readAdvert(strings.NewReader(test.in), mainRef, "")
		if test.wantError != "" {
			if err == nil || !strings.Contains(err.Error(), test.wantError) {
				t.Errorf("%s: %v, want %q", test.name, err, test.wantError)
			}
			continue
		}
		want := plumbing.NewHash(test.tip)
		if err != nil || got.tip != want || got.empty != test.empty {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func TestSideband(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, want, wantError string }{
		{"a pack", lines("NAK\n", "\x01PA", "\x02counting\n", "\x01CK", ""), "PACK", ""},
		{"known commits", lines("ACK "+tip+" common\n", "ACK "+tip+"\n", "\x01PACK", ""), "PACK", ""},
		{"the server gives up", lines("NAK\n", "\x01PA", "\x03out of memory"), "PA", "the server says: out of memory"},
		{"a refusal", lines("ERR upload-pack: not our ref"), "", "the server says: upload-pack: not our ref"},
		{"cut off", lines("NAK\n", "\x01PA"), "PA", "unexpected EOF"},
		{"nonsense", lines("hello"), "", "not as a Git server"},
	} {
		got, err := io.ReadAll(newSideband(strings.NewReader(test.in)))
		if string(got) != test.want || (err == nil) != (test.wantError == "") || err != nil && !strings.Contains(err.Error(), test.wantError) {
			t.Errorf("%s: %q, %v; want %q, %q", test.name, got, err, test.want, test.wantError)
		}
	}
}

func TestReadReport(t *testing.T) {
	t.Parallel()
	band := func(remarks string, report ...string) string {
		all := []string{"\x01" + lines(report...)}
		if remarks != "" {
			all = append([]string{"\x02" + remarks}, all...)
		}
		return lines(append(all, "")...)
	}
	for _, test := range []struct {
		name, in, reason string
		accepted, unsure bool
	}{
		{"accepted", band("", "unpack ok\n", "ok refs/heads/main\n", ""), "", true, false},
		{"accepted, with remarks", band("a link\n", "unpack ok\n", "ok refs/heads/main\n", ""), "", true, false},
		{"refused", band("", "unpack ok\n", "ng refs/heads/main pre-receive hook declined\n", ""), "pre-receive hook declined", false, false},
		{"refused, with remarks", band("error: GH006\n", "unpack ok\n", "ng refs/heads/main protected branch\n", ""), "protected branch: error: GH006", false, false},
		{"not unpacked", band("", "unpack index-pack abnormal exit\n", "ng refs/heads/main unpacker error\n", ""), "unpack: index-pack abnormal exit unpacker error", false, false},
		{"another branch", band("", "unpack ok\n", "ok refs/heads/other\n", ""), "", false, true},
		{"nothing", "", "", false, true},
		{"cut off", lines("\x01" + lines("unpack ok\n")), "", false, true},
	} {
		got, err := readReport(strings.NewReader(test.in), mainRef)
		if (err != nil) != test.unsure || got.accepted != test.accepted || got.reason != test.reason {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte(lines("# service=git-upload-pack\n", "", tip+" refs/heads/main\x00side-band-64k\n", "")))
	f.Add([]byte(lines("version 2\n", "ls-refs=unborn\n", "fetch=shallow filter\n", "object-format=sha1\n", "")))
	f.Add([]byte(lines(tip+" refs/heads/main symref-target:x\n", "")))
	f.Add([]byte(lines("NAK\n", "\x01PACK", "\x02x", "")))
	f.Add([]byte(lines("\x01"+lines("unpack ok\n", "ok refs/heads/main\n", ""), "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		if a, err := readAdvert(bytes.NewReader(in), mainRef, ""); err == nil && a.empty && !a.tip.IsZero() {
			t.Error("an empty repository with a branch")
		}
		if r, err := readReport(bytes.NewReader(in), mainRef); err != nil && r.accepted {
			t.Error("accepted, and an error")
		}
		known := advert{v2: true, can: map[string]bool{}}
		if err := known.readRefs(bytes.NewReader(in), mainRef, ""); err == nil && known.empty && !known.tip.IsZero() {
			t.Error("no branch, and where it is")
		}
		_, _ = io.ReadAll(newSideband(bytes.NewReader(in)))
	})
}

func FuzzSections(f *testing.F) {
	info := func(all ...string) string { return strings.TrimSuffix(lines(append(all, "")...), "0000") + delimiter }
	f.Add([]byte(info("shallow-info\n", "shallow "+tip+"\n", "unshallow "+tip+"\n") + lines("packfile\n", "\x01PACK", "")))
	f.Add([]byte(info("shallow-info\n") + lines("ERR no\n")))
	f.Add([]byte(lines("packfile\n", "\x02x", "\x01PACK", "")))
	f.Add([]byte(lines("acknowledgments\n", "NAK\n", "ready\n") + delimiter))
	f.Add([]byte("0002"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		ends, err := readSections(r)
		if err != nil && len(ends) > 0 {
			t.Error("ends of a history, and an error")
		}
		if err == nil && !bytes.Contains(in[:len(in)-r.Len()], []byte("packfile")) {
			t.Error("no pack was named")
		}
		if len(ends) > len(in)/48 {
			t.Errorf("%d ends of %d bytes", len(ends), len(in))
		}
		if err == nil {
			_, _ = io.ReadAll(newPackOnly(r))
		}
	})
}

func FuzzDecodeTree(f *testing.F) {
	hash := strings.Repeat("h", 20)
	f.Add([]byte("100644 a\x00" + hash + "40000 b\x00" + hash))
	f.Add([]byte("100644 ..\x00" + hash))
	f.Fuzz(func(t *testing.T, in []byte) {
		nodes, err := decodeTree(in, 100)
		if err != nil {
			if !errors.Is(err, errMalformed) && !errors.Is(err, errTooLarge) {
				t.Errorf("%v is neither malformed nor too large", err)
			}
			return
		}
		for i, n := range nodes {
			if n.name == "" || n.name == "." || n.name == ".." || strings.ContainsAny(n.name, "/\x00") || strings.EqualFold(n.name, ".git") {
				t.Errorf("name %q", n.name)
			}
			if i > 0 && nodes[i-1].name >= n.name {
				t.Errorf("%q before %q", nodes[i-1].name, n.name)
			}
		}
	})
}

// TestMalformedTrees: CVE-2014-9390 and its kin.
func TestMalformedTrees(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("h", 20)
	for in, want := range map[string]string{
		"100644 a\x00" + hash[:19]:                         "an entry is cut off",
		"100644 a":                                         "an entry is cut off",
		"nonsense":                                         "an entry is cut off",
		"8 a\x00" + hash:                                   `mode "8"`,
		"100644 \x00" + hash:                               `named ""`,
		"40000 ..\x00" + hash:                              `named ".."`,
		"100644 a/b\x00" + hash:                            `named "a/b"`,
		"40000 .gIt\x00" + hash:                            `named ".gIt"`,
		"100644 a\x00" + hash + "40000 a\x00" + hash:       `"a" stands there twice`,
		"100644 a\x00" + hash + strings.Repeat("x", 20):    "an entry is cut off",
		"100644 b\x00" + hash + "100644 a\x00" + hash[:10]: "an entry is cut off",
	} {
		if _, err := decodeTree([]byte(in), 100); !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestParseLocation(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]location{
		"/srv/a.git":                     {transport: overFile, text: "/srv/a.git", path: "/srv/a.git"},
		"/srv/with:colon":                {transport: overFile, text: "/srv/with:colon", path: "/srv/with:colon"},
		"file:///srv/a.git":              {transport: overFile, text: "file:///srv/a.git", path: "/srv/a.git"},
		"file://localhost/srv/a.git":     {transport: overFile, text: "file:///srv/a.git", path: "/srv/a.git"},
		"git@example.org:team/a.git":     {transport: overSSH, text: "git@example.org:team/a.git", path: "team/a.git", host: "example.org:22", user: "git"},
		"example.org:/srv/a.git":         {transport: overSSH, text: "example.org:/srv/a.git", path: "/srv/a.git", host: "example.org:22"},
		"ssh://example.org/a.git":        {transport: overSSH, text: "ssh://example.org/a.git", path: "/a.git", host: "example.org:22"},
		"ssh://me@example.org:2222/~/a":  {transport: overSSH, text: "ssh://me@example.org:2222/~/a", path: "/~/a", host: "example.org:2222", user: "me"},
		"ssh://[2001:db8::1]:2222/a.git": {transport: overSSH, text: "ssh://[2001:db8::1]:2222/a.git", path: "/a.git", host: "[2001:db8::1]:2222"},
		"https://example.org/a.git/":     {transport: overHTTP, text: "https://example.org/a.git"},
		"http://127.0.0.1:3000/team/a":   {transport: overHTTP, text: "http://127.0.0.1:3000/team/a"},
	} {
		got, err := parseLocation(in)
		got.base = nil
		if err != nil || got != want {
			t.Errorf("parseLocation(%q) = %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"https://", "ssh://example.org", "ssh:///a", "file://other.example.org/a", ":a", "git@:a", "svn://example.org/a"} {
		if got, err := parseLocation(in); err == nil {
			t.Errorf("parseLocation(%q) = %+v, want an error", in, got)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	f.Add("https://user:pass@example.org/a")
	f.Add("git@example.org:a")
	f.Fuzz(func(t *testing.T, in string) {
		const password = "hunter2-hunter2"
		for _, text := range []string{in, strings.Replace(in, "://", "://u:"+password+"@", 1)} {
			place, err := parseLocation(text)
			if err == nil && place.transport != overFile && strings.Contains(place.text, ":"+password+"@") {
				t.Errorf("%q is accepted with its password", text)
			}
			if err != nil && strings.Contains(text, "://") && strings.Contains(err.Error(), password) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("token", "Authorization: Basic dG9rZW4=\x1b[31m token")
	f.Fuzz(func(t *testing.T, token, text string) {
		token = strings.ToValidUTF8(token, "")
		if len(token) < 8 || strings.Contains("<secret>…?", token) {
			return
		}
		got := login{"x-access-token", secret(token)}.clean(text + token + text)
		if strings.ContainsAny(got, "\n\r\x1b\x00") || !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxMessageRunes+1 {
			t.Errorf("clean = %q", got)
		}
		if strings.Contains(got, token) && !strings.Contains(strings.Repeat("<secret>", 4), token) {
			t.Errorf("clean = %q holds %q", got, token)
		}
	})
}

func TestProblemsAreUnavailability(t *testing.T) {
	t.Parallel()
	if !errors.Is(&problem{text: "x"}, source.ErrUnavailable) {
		t.Error("a problem is not source.ErrUnavailable")
	}
	if got := secret("hunter2").String() + secret("hunter2").GoString(); strings.Contains(got, "hunter2") {
		t.Errorf("a secret prints as %s", got)
	}
	if got, want := shellQuoted(`/srv/it's!/a`), `'/srv/it'\''s'\!'/a'`; got != want {
		t.Errorf("shellQuoted = %s, want %s", got, want)
	}
}
