package gogit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

type answering func(w http.ResponseWriter, r *http.Request)

const greeting = "version 2\nagent=git/2\nls-refs=unborn\nfetch=shallow filter\nobject-format=sha1\n"

// greets is how a server begins that speaks version 2.
func greets(lines ...string) []byte {
	var b bytes.Buffer
	b.WriteString(pkt("# service=git-upload-pack\n") + "0000")
	for line := range strings.Lines(greeting + strings.Join(lines, "")) {
		b.WriteString(pkt(line))
	}
	b.WriteString("0000")
	return b.Bytes()
}

func refsOf(tip string) []byte { return []byte(pkt(tip+" refs/heads/main\n") + "0000") }

// packfile is the last section of an answer, after others.
func packfile(pack []byte, before ...string) []byte {
	return append([]byte(strings.Join(before, "")+pkt("packfile\n")), bytes.TrimPrefix(answerOf(pack), []byte(pkt("NAK\n")))...)
}

func shallowInfo(lines ...string) string {
	section := pkt("shallow-info\n")
	for _, line := range lines {
		section += pkt(line + "\n")
	}
	return section + "0001"
}

// speaks has the server answer in version 2.
func (h *hostile) speaks(refs, objects answering) { h.greets(plainly(greets()), refs, objects) }

func (h *hostile) greets(greeting, refs, objects answering) {
	h.does(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			greeting(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		if bytes.Contains(body, []byte("command=ls-refs")) {
			refs(w, r)
			return
		}
		objects(w, r)
	})
}

// besiegeVersion2 is besiege by a server that speaks version 2.
func besiegeVersion2(t *testing.T) *besieged {
	t.Helper()
	repo := gitserver.NewRepo(t)
	b := &besieged{server: serveHostile(t), repo: repo}
	b.first = repo.Commit(t, one("ok.yaml", "fine\n"))
	b.second = repo.Commit(t, one("ok.yaml", "better\n"))
	b.next = told{refsOf(b.second), packfile(packOf(t, repo, "--revs", b.second))}
	b.server.speaks(plainly(refsOf(b.first)), plainly(packfile(packOf(t, repo, "--revs", b.first), shallowInfo())))
	r, err := gogit.Open(t.Context(), gogit.Options{
		URL: b.server.url + "/team/source.git", Branch: gitserver.Main, CacheDir: t.TempDir(), Timeout: 2 * time.Second,
		Limits: gogit.Limits{Object: 4 << 20, Pack: 8 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	b.Repository = r
	poll(t, r)
	return b
}

func (b *besieged) recoversInVersion2(t *testing.T) {
	t.Helper()
	b.server.speaks(plainly(b.next.advert), plainly(b.next.answer))
	if head := poll(t, b.Repository); string(head.Revision) != b.second || read(t, b.Repository, head.Revision, "ok.yaml") != "better\n" {
		t.Errorf("head is %s, want %s", head.Revision, b.second)
	}
}

//lint:long because it is one table of what a server may do
func TestHostileServersInVersion2(t *testing.T) {
	t.Parallel()
	random := bytes.Repeat([]byte("0123456789abcdef"), 3000)
	const notGit = "not as a Git server"
	objects := func(answer answering) func(*testing.T, *besieged) {
		return func(_ *testing.T, b *besieged) { b.server.speaks(plainly(b.next.advert), answer) }
	}
	refs := func(answer answering) func(*testing.T, *besieged) {
		return func(_ *testing.T, b *besieged) { b.server.speaks(answer, plainly(b.next.answer)) }
	}
	start := []byte(pkt("packfile\n"))
	hash := strings.Repeat("1", 40)
	for _, test := range []struct {
		name string
		turn func(t *testing.T, b *besieged)
		want string
	}{
		{"a pack without end", objects(endlessly(start, bandOf(1, string(random)))), "the server sends more than the 8388608 bytes allowed for one fetch"},
		{"remarks without end", objects(endlessly(start, bandOf(2, string(random)))), "the server says more than the 67108864 bytes allowed besides the pack"},
		{"ends of the history without end", objects(endlessly([]byte(pkt("shallow-info\n")), []byte(strings.Repeat(pkt("shallow "+hash+"\n"), 1000)))),
			"the server cuts the history off in more than the 100000 places allowed"},
		{"other ends without end", objects(endlessly([]byte(pkt("shallow-info\n")), []byte(strings.Repeat(pkt("unshallow "+hash+"\n"), 1000)))),
			"the server cuts the history off in more than the 100000 places allowed"},
		{"acknowledgements that nobody asked for", objects(endlessly([]byte(pkt("acknowledgments\n")), []byte(pkt("NAK\n")))), notGit},
		{"acknowledgements in place of a pack", objects(endlessly(start, []byte(pkt("NAK\n")))), notGit},
		{"addresses of other packs", objects(plainly([]byte(pkt("packfile-uris\n") + pkt(hash+" http://127.0.0.1:1/x\n") + "0001"))), notGit},
		{"sections in the wrong order", objects(plainly([]byte(pkt("packfile\n") + shallowInfo()))), notGit},
		{"a section twice", objects(plainly([]byte(shallowInfo() + shallowInfo()))), notGit},
		{"a section that is cut off", objects(plainly([]byte(pkt("shallow-info\n") + pkt("shallow "+hash+"\n")))), "unexpected EOF"},
		{"an end of the history that is no commit", objects(plainly([]byte(shallowInfo("shallow ../../etc/passwd")))), notGit},
		{"an end of the history without a name", objects(plainly([]byte(shallowInfo("shallow")))), notGit},
		{"a delimiter in place of an answer", objects(plainly([]byte("0001"))), notGit},
		{"the end of a response in place of one", objects(plainly([]byte("0002"))), notGit},
		{"a length that is too small", objects(plainly([]byte("0003"))), notGit},
		{"an empty line", objects(plainly([]byte("0004"))), notGit},
		{"a length that is too large", objects(plainly([]byte("fff5" + string(random)))), notGit},
		{"a length that is none", objects(plainly([]byte("-001packfile\n"))), notGit},
		{"a line that ends early", objects(plainly([]byte("00ffpackfile\n"))), "unexpected EOF"},
		{"nothing", objects(plainly(nil)), "unexpected EOF"},
		{"nothing to send", objects(plainly([]byte("0000"))), notGit},
		{"a refusal", objects(plainly([]byte(pkt("ERR upload-pack: not our ref " + hash)))), "the server says: upload-pack: not our ref"},
		{"silence", objects(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "no answer for 2s"},
		{"a file that inflates", func(t *testing.T, b *besieged) {
			b.server.speaks(plainly(b.next.advert), plainly(packfile(packOf(t, b.repo, "", zeroBlob(t, b.repo, 64<<20)))))
		}, "the history holds a file of 67108864 bytes, of which 4194304 are allowed"},
		{"many files that inflate", func(t *testing.T, b *besieged) {
			var names []string
			for i := range 100 {
				names = append(names, zeroBlob(t, b.repo, 4<<20-int64(i)))
			}
			b.server.speaks(plainly(b.next.advert), plainly(packfile(packOf(t, b.repo, "--window=0", strings.Join(names, "\n")))))
		}, "times as many"},
		{"another commit than it names", func(t *testing.T, b *besieged) {
			other := b.repo.Commit(t, gitserver.Commit{Branch: "other", Fresh: true, Files: map[string]string{"x": "y"}})
			b.server.speaks(plainly(b.next.advert), plainly(packfile(packOf(t, b.repo, "--revs", other))))
		}, "the server did not send what its branch names"},
		{"a commit without its tree", func(t *testing.T, b *besieged) {
			b.server.speaks(plainly(b.next.advert), plainly(packfile(packOf(t, b.repo, "", b.second), shallowInfo("shallow "+b.second))))
		}, "the server did not send what its branch names"},
		{"a wrong checksum", func(_ *testing.T, b *besieged) {
			wrong := bytes.Clone(b.next.answer)
			wrong[len(wrong)-6] ^= 1
			b.server.speaks(plainly(b.next.advert), plainly(wrong))
		}, "the pack that the server sent is damaged"},
		{"refs without end", refs(endlessly(nil, []byte(strings.Repeat(pkt(hash+" refs/heads/main\n"), 1000)))), "the server lists refs of more than the 67108864 bytes allowed"},
		{"a ref that is no commit", refs(plainly(refsOf(strings.Repeat("z", 40)))), notGit},
		{"a ref without a name", refs(plainly([]byte(pkt(hash+"\n") + "0000"))), notGit},
		{"refs with a delimiter", refs(plainly([]byte("0001" + pkt(hash+" refs/heads/main\n") + "0000"))), notGit},
		{"capabilities without end", func(t *testing.T, b *besieged) {
			n := 0
			b.server.greets(func(w http.ResponseWriter, _ *http.Request) {
				_, err := io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt("version 2\n"))
				for ; err == nil; n++ {
					_, err = io.WriteString(w, pkt(fmt.Sprintf("capability%d\n", n)))
				}
			}, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) }, plainly(nil))
		}, notGit},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if slices.Contains([]string{"many files that inflate", "remarks without end", "refs without end"}, test.name) {
				racing.Without(t)
			}
			b := besiegeVersion2(t)
			test.turn(t, b)
			soon(t, "the poll", func() {
				_, err := b.Poll(t.Context())
				if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("poll: %v, want %q", err, test.want)
				}
				if err != nil && (strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2000) {
					t.Errorf("what it says would garble a line: %q", err)
				}
			})
			b.holds(t)
			b.recoversInVersion2(t)
		})
	}
}

// wanted are the commits that a request asks for.
func wanted(r *http.Request) (all []string) {
	body, _ := io.ReadAll(r.Body)
	for line := range strings.Lines(string(body)) {
		if _, hash, found := strings.Cut(line, "want "); found {
			all = append(all, strings.TrimSpace(hash))
		}
	}
	return all
}

// stingy is a server that gives one commit at a time, whatever is asked for.
func stingy(t *testing.T, repo *gitserver.Repo) answering {
	return func(w http.ResponseWriter, r *http.Request) {
		all := wanted(r)
		var names []string
		for line := range strings.Lines(gitserver.Git(t, repo.Dir, append([]string{"rev-list", "--objects", "--no-walk"}, all...)...)) {
			names = append(names, strings.Fields(line)[0])
		}
		_, _ = w.Write(packfile(packOf(t, repo, "", strings.Join(names, "\n")), shallowInfo("shallow "+all[0])))
	}
}

// TestSlowFiles: a server that gives a file drop by drop holds its reader a while,
// who is told that it is not to be had now.
func TestSlowFiles(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := repo.Commit(t, one("elsewhere/deep/down.yaml", "fine\n"))
	server := serveHostile(t)
	root := gitserver.Git(t, repo.Dir, "rev-list", "--objects", "--filter=blob:none", first)
	var names []string
	for line := range strings.Lines(root) {
		names = append(names, strings.Fields(line)[0])
	}
	server.speaks(plainly(refsOf(first)), func(w http.ResponseWriter, r *http.Request) {
		if wanted(r)[0] == first {
			_, _ = w.Write(packfile(packOf(t, repo, "", strings.Join(names, "\n"))))
			return
		}
		drops([]byte(pkt("packfile\n")+string(bandOf(1, strings.Repeat("x", 60_000)))), 20*time.Millisecond)(w, r)
	})
	r, err := gogit.Open(t.Context(), gogit.Options{URL: server.url, Branch: gitserver.Main, CacheDir: t.TempDir(), Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, _ = r.Poll(ctx) // may wait for files in vain as well
	soon(t, "the file", func() {
		snapshot, err := r.Snapshot(source.Revision(first))
		if err == nil {
			_, err = fs.ReadFile(snapshot, "elsewhere/deep/down.yaml")
		}
		if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
			t.Errorf("read: %v", err)
		}
	})
}

// TestHistoryWithoutEnd: a server that gives its history piece by piece is asked so
// often and no more, and nothing is said of what lies further down. The next poll
// fetches all of it.
func TestHistoryWithoutEnd(t *testing.T) {
	t.Parallel()
	b := besiegeVersion2(t)
	for i := range 300 {
		b.repo.Commit(t, gitserver.Commit{Branch: "long", Parent: map[bool]string{true: b.first}[i == 0], Files: map[string]string{"a": fmt.Sprint(i)}})
	}
	long := b.repo.Head(t, "long")
	b.server.speaks(plainly(refsOf(long)), stingy(t, b.repo))
	poll(t, b.Repository)
	for range 2 {
		_, err := b.FirstParents(t.Context(), source.Revision(b.first), source.Revision(long), 1000)
		if !errors.Is(err, source.ErrUnavailable) || errors.Is(err, source.ErrNotAncestor) || fault.IsTerminal(err) || !strings.Contains(err.Error(), "gives no more of the history") {
			t.Errorf("the line: %v", err)
		}
	}
	b.server.speaks(plainly(refsOf(long)), func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("deepen")) {
			t.Error("a part of the history is asked for")
		}
		_, _ = w.Write(packfile(packOf(t, b.repo, "--revs", long)))
	})
	poll(t, b.Repository)
	line, err := b.FirstParents(t.Context(), source.Revision(b.first), source.Revision(long), 1000)
	if err != nil || len(line) != 300 {
		t.Errorf("the line is of %d commits, %v", len(line), err)
	}
}

// TestHistoryThatIsWithheld: an older commit that the server does not give is
// neither absent from the history nor unknown: nobody could say.
func TestHistoryThatIsWithheld(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]answering{
		"refused":      plainly([]byte(pkt("ERR upload-pack: not our ref"))),
		"empty":        plainly([]byte(shallowInfo() + pkt("packfile\n") + "0000")),
		"silent":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"out of order": plainly([]byte(pkt("packfile\n") + "0001")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := besiegeVersion2(t)
			third := b.repo.Commit(t, one("ok.yaml", "best\n"))
			b.server.speaks(plainly(refsOf(third)), stingy(t, b.repo))
			poll(t, b.Repository)
			b.server.speaks(plainly(refsOf(third)), answer)
			soon(t, "what is asked", func() {
				_, line := b.FirstParents(t.Context(), source.Revision(b.first), source.Revision(third), 10)
				_, is := b.Contains(t.Context(), source.Revision(b.first))
				_, reverted := b.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(b.second), Note: note})
				for what, err := range map[string]error{"line": line, "contains": is, "revert": reverted} {
					if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, source.ErrNotAncestor) || errors.Is(err, source.ErrUnknownRevision) {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
			b.server.speaks(plainly(refsOf(third)), plainly(packfile(packOf(t, b.repo, "--revs", third))))
			poll(t, b.Repository)
			if is, err := b.Contains(t.Context(), source.Revision(b.first)); !is || err != nil {
				t.Errorf("contains: %v, %v", is, err)
			}
		})
	}
}
