package gogit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// told is a conversation as an honest server has it, byte for byte.
type told struct{ advert, answer []byte }

func pkt(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }

const capabilities = "side-band-64k ofs-delta no-progress multi_ack_detailed agent=git/2"

func advertOf(tip string, more ...string) []byte {
	var b bytes.Buffer
	b.WriteString(pkt("# service=git-upload-pack\n") + "0000" + pkt(tip+" HEAD\x00"+capabilities+"\n"))
	for _, line := range more {
		b.WriteString(pkt(line))
	}
	b.WriteString(pkt(tip+" refs/heads/main\n") + "0000")
	return b.Bytes()
}

func answerOf(pack []byte) []byte {
	var b bytes.Buffer
	b.WriteString(pkt("NAK\n"))
	for len(pack) > 0 {
		n := min(len(pack), 60_000)
		b.WriteString(pkt("\x01" + string(pack[:n])))
		pack = pack[n:]
	}
	b.WriteString("0000")
	return b.Bytes()
}

// honest is what is told about a commit, with all that belongs to it.
func honest(t *testing.T, repo *gitserver.Repo, tip string) told {
	t.Helper()
	return told{advertOf(tip), answerOf(packOf(t, repo, "--revs", tip))}
}

func packOf(t *testing.T, repo *gitserver.Repo, how, names string) []byte {
	t.Helper()
	args := []string{"pack-objects", "--stdout", "-q"}
	if how != "" {
		args = append(args, how)
	}
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = repo.Dir, strings.NewReader(names+"\n")
	pack, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return pack
}

// hostile answers as it is told to, at its one address.
type hostile struct {
	handler atomic.Value // http.HandlerFunc
	url     string
}

func serveHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.handler.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	h.url = server.URL
	return h
}

func (h *hostile) does(handler http.HandlerFunc) { h.handler.Store(handler) }

// says answers both halves of a conversation.
func (h *hostile) says(advert, answer func(w http.ResponseWriter, r *http.Request)) {
	h.does(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			advert(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		answer(w, r)
	})
}

func plainly(content []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
}

// endlessly sends the same again and again, until nobody listens.
func endlessly(start, content []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(start)
		for err == nil {
			_, err = w.Write(content)
		}
	}
}

// drops sends a byte at a time.
func drops(content []byte, pause time.Duration) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; ; i++ {
			if _, err := w.Write(content[i%len(content) : i%len(content)+1]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

// besieged is a repository that has seen one good commit of a server that is
// about to turn hostile.
type besieged struct {
	*gogit.Repository
	server        *hostile
	repo          *gitserver.Repo
	first, second string
	next          told // about the second commit
}

func besiege(t *testing.T) *besieged {
	t.Helper()
	repo := gitserver.NewRepo(t)
	b := &besieged{server: serveHostile(t), repo: repo}
	b.first = repo.Commit(t, one("ok.yaml", "fine\n"))
	b.second = repo.Commit(t, one("ok.yaml", "better\n"))
	first := honest(t, repo, b.first)
	b.next = honest(t, repo, b.second)
	b.server.says(plainly(first.advert), plainly(first.answer))
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

// holds: what was known is known still, and can be read.
func (b *besieged) holds(t *testing.T) {
	t.Helper()
	if string(b.Head()) != b.first || read(t, b.Repository, b.Head(), "ok.yaml") != "fine\n" {
		t.Errorf("head is %s, want %s as it was", b.Head(), b.first)
	}
}

// recovers: once the server is honest, the next poll finds what is new.
func (b *besieged) recovers(t *testing.T) {
	t.Helper()
	b.server.says(plainly(b.next.advert), plainly(b.next.answer))
	if head := poll(t, b.Repository); string(head.Revision) != b.second || read(t, b.Repository, head.Revision, "ok.yaml") != "better\n" {
		t.Errorf("head is %s, want %s", head.Revision, b.second)
	}
}

// zeroBlob packs well.
func zeroBlob(t *testing.T, repo *gitserver.Repo, size int64) string {
	t.Helper()
	return forged{repo}.write(t, "blob", io.LimitReader(zeros{}, size), size)
}

func bandOf(band byte, content string) []byte { return []byte(pkt(string(band) + content)) }

//lint:long because it is one table of what a server may do
func TestHostileServers(t *testing.T) {
	t.Parallel()
	random := bytes.Repeat([]byte("0123456789abcdef"), 3000)
	for _, test := range []struct {
		name string
		turn func(t *testing.T, b *besieged)
		want string
	}{
		{"a pack without end", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), endlessly([]byte(pkt("NAK\n")), bandOf(1, string(random))))
		}, "the server sends more than the 8388608 bytes allowed for one fetch"},
		{"remarks without end", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), endlessly([]byte(pkt("NAK\n")), bandOf(2, string(random))))
		}, "the server says more than the 67108864 bytes allowed besides the pack"},
		{"acknowledgements without end", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), endlessly(nil, []byte(strings.Repeat(pkt("NAK\n"), 1000))))
		}, "the server says more than the 67108864 bytes allowed besides the pack"},
		{"refs without end", func(_ *testing.T, b *besieged) {
			b.server.says(endlessly(b.next.advert[:len(b.next.advert)-4], []byte(strings.Repeat(pkt(b.first+" refs/pull/1/head\n"), 1000))), plainly(nil))
		}, "the server lists refs of more than the 67108864 bytes allowed"},
		{"silence", func(_ *testing.T, b *besieged) {
			b.server.says(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, plainly(nil))
		}, "no answer for 2s"},
		{"silence in the middle of a pack", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write(b.next.answer[:len(b.next.answer)/2])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
		}, "no answer for 2s"},
		{"a file that inflates", func(t *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), plainly(answerOf(packOf(t, b.repo, "", zeroBlob(t, b.repo, 64<<20)))))
		}, "the history holds a file of 67108864 bytes, of which 4194304 are allowed"},
		{"many files that inflate", func(t *testing.T, b *besieged) {
			var names []string
			for i := range 100 {
				names = append(names, zeroBlob(t, b.repo, 4<<20-int64(i)))
			}
			b.server.says(plainly(b.next.advert), plainly(answerOf(packOf(t, b.repo, "--window=0", strings.Join(names, "\n")))))
		}, "times as many"},
		{"another commit than it names", func(t *testing.T, b *besieged) {
			other := b.repo.Commit(t, gitserver.Commit{Branch: "other", Fresh: true, Files: map[string]string{"x": "y"}})
			b.server.says(plainly(b.next.advert), plainly(honest(t, b.repo, other).answer))
		}, "the server did not send what its branch names"},
		{"a commit without its tree", func(t *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), plainly(answerOf(packOf(t, b.repo, "", b.second))))
		}, "the server did not send what its branch names"},
		{"a branch that is no commit", func(t *testing.T, b *besieged) {
			blob := gitserver.Git(t, b.repo.Dir, "rev-parse", b.second+":ok.yaml")
			b.server.says(plainly(advertOf(blob)), plainly(answerOf(packOf(t, b.repo, "", blob))))
		}, "the server did not send what its branch names"},
		{"a commit that is there for nobody", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(advertOf(strings.Repeat("1", 40))), plainly([]byte(pkt("ERR upload-pack: not our ref "+strings.Repeat("1", 40)))))
		}, "the server says: upload-pack: not our ref"},
		{"a hash that is none", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(advertOf(strings.Repeat("z", 40))), plainly(nil))
		}, "not as a Git server"},
		{"a wrong checksum", func(_ *testing.T, b *besieged) {
			wrong := bytes.Clone(b.next.answer)
			wrong[len(wrong)-6] ^= 1
			b.server.says(plainly(b.next.advert), plainly(wrong))
		}, "the pack that the server sent is damaged"},
		{"a page in place of refs", func(_ *testing.T, b *besieged) {
			b.server.does(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>please log in</html>") })
		}, "not as a Git server"},
		{"a page in place of a pack", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(w, "<html>")
			})
		}, "not as a Git server"},
		{"nothing", func(_ *testing.T, b *besieged) { b.server.says(plainly(nil), plainly(nil)) }, "not as a Git server"},
		{"an error with control characters and no end", func(_ *testing.T, b *besieged) {
			b.server.does(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusInternalServerError)
				endlessly(nil, []byte("\x1b[2J sorry\n"))(w, r)
			})
		}, "the server answers 500"},
		{"a redirect to itself", func(_ *testing.T, b *besieged) {
			b.server.does(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) })
		}, "redirected too often"},
		{"a redirect to another host", func(t *testing.T, b *besieged) {
			other := serveHostile(t)
			other.does(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") })
			b.server.does(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.url+r.URL.String(), http.StatusMovedPermanently)
			})
		}, "redirected to another host"},
		{"a redirect of what is said", func(_ *testing.T, b *besieged) {
			b.server.says(plainly(b.next.advert), func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			})
		}, "redirected in the middle of a conversation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.name == "many files that inflate" {
				racing.Without(t)
			}
			b := besiege(t)
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
			b.recovers(t)
		})
	}
}

// TestOddRefs: what else a server has, and how it is called, is of no matter.
func TestOddRefs(t *testing.T) {
	t.Parallel()
	b := besiege(t)
	odd := []string{
		b.first + " refs/heads/../../main\n", b.first + " refs/heads/main\x1b[2J\n", b.first + " refs/heads/\xff\xfe\n", b.first + " \n",
		b.first + " refs/heads/main \n", b.first + " refs/heads/" + strings.Repeat("long", 16_000) + "\n", b.first + " refs/heads/MAIN\n",
	}
	for i := range 100_000 {
		odd = append(odd, fmt.Sprintf("%s refs/pull/%d/head\n", b.first, i))
	}
	b.next.advert = advertOf(b.second, odd...)
	b.recovers(t)
}

// TestSlowServer: a server that is always about to say something holds nobody
// longer than the caller waits.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	b := besiege(t)
	b.server.says(plainly(b.next.advert), drops(b.next.answer, 50*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := b.Poll(ctx); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("poll: %v", err)
	}
	b.holds(t)
	b.recovers(t)
}

// TestAnswersCutOffAnywhere: at whatever byte a conversation ends, cleanly or
// not, nothing of it stays, and the next one is none the worse.
func TestAnswersCutOffAnywhere(t *testing.T) {
	t.Parallel()
	b := besiege(t)
	cut := func(content []byte, at int, clean bool) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(content[:at])
			if !clean {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		}
	}
	for n, clean := range []bool{true, false} {
		step := 1 + 6*n // a broken connection takes its time
		for at := 0; at < len(b.next.advert); at += step {
			b.server.says(cut(b.next.advert, at, clean), plainly(b.next.answer))
			if _, err := b.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || string(b.Head()) != b.first {
				t.Errorf("refs cut off at %d (cleanly: %t): %v, head %s", at, clean, err, b.Head())
			}
		}
		for at := 0; at < len(b.next.answer); at += step {
			b.server.says(plainly(b.next.advert), cut(b.next.answer, at, clean))
			if _, err := b.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || string(b.Head()) != b.first {
				t.Errorf("pack cut off at %d (cleanly: %t): %v, head %s", at, clean, err, b.Head())
			}
		}
	}
	b.holds(t)
	b.recovers(t)
}

// TestPackBombsCostLittle: what is refused was not built first.
func TestPackBombsCostLittle(t *testing.T) {
	b := besiege(t)
	pack := packOf(t, b.repo, "", zeroBlob(t, b.repo, 256<<20))
	if count := binary.BigEndian.Uint32(pack[8:]); count != 1 || len(pack) > 4<<20 {
		t.Fatalf("a pack of %d bytes with %d objects is no bomb", len(pack), count)
	}
	b.server.says(plainly(b.next.advert), plainly(answerOf(pack)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := b.Poll(t.Context()); err == nil {
		t.Error("a file of 256 MiB is taken")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d bytes were allocated for a file that is refused", grown)
	}
	b.holds(t)
}
