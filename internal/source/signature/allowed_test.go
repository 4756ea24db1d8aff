package signature

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// A line means to us what it means to ssh-keygen, or we refuse it.
func TestAllowedSignersAsGitReadsThem(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	one, two := o.sshKey("one", "ed25519", ""), o.sshKey("two", "ed25519", "")
	key, err := ParseKey(o.read("one"), nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	signed := o.sign(key, plainCommit("x\n", at))
	bare := strings.TrimSuffix(one, " comment")
	for _, test := range []struct {
		lines string
		want  source.SignatureState
	}{
		{"alex@example.org " + one, source.SignatureGood},
		{"alex@example.org " + bare, source.SignatureGood},
		{"# a comment\n\n  alex@example.org \t " + one + "\n", source.SignatureGood},
		{`"alex@example.org,kim@example.org" ` + one, source.SignatureGood},
		{"*@example.org " + one, source.SignatureGood},
		{"alex@example.org " + two, source.SignatureUnknown},
		{"alex@example.org " + two + "\nkim@example.org " + one, source.SignatureGood},
		{`alex@example.org namespaces="git" ` + one, source.SignatureGood},
		{`alex@example.org namespaces="file,g?t" ` + one, source.SignatureGood},
		{`alex@example.org NameSpaces="git" ` + one, source.SignatureGood},
		{`alex@example.org namespaces="file" ` + one, source.SignatureUnknown},
		{`alex@example.org namespaces="*,!git" ` + one, source.SignatureUnknown},
		{`alex@example.org namespaces="Git" ` + one, source.SignatureUnknown},
		{`alex@example.org valid-after="20260506" ` + one, source.SignatureGood},
		{`alex@example.org valid-after="20260507" ` + one, source.SignatureExpired},
		{`alex@example.org valid-after="20260506070809Z" ` + one, source.SignatureGood},
		{`alex@example.org valid-after="20260506070810Z" ` + one, source.SignatureExpired},
		{`alex@example.org valid-before="20260506070809" ` + one, source.SignatureGood},
		{`alex@example.org valid-before="20260506070808" ` + one, source.SignatureExpired},
		{`alex@example.org valid-before="202605060708" ` + one, source.SignatureExpired},
		{`alex@example.org namespaces="git",valid-after="20260101",valid-before="20270101" ` + one, source.SignatureGood},
		{`alex@example.org valid-before="20200101" ` + one + "\nalex@example.org " + one, source.SignatureGood},
	} {
		k := o.trustSSH(test.lines)
		got := k.Verify(signed, at.Add(time.Hour))
		accepted, said := o.verifies(signed)
		if got.State != test.want || accepted != got.Good() || got.Good() == (got.Detail != "") {
			t.Errorf("%s\n got %+v, want %s; git: %v %s", test.lines, got, test.want, accepted, said)
		}
	}
	k := o.trustSSH(`alex@example.org valid-after="20260101" ` + one)
	if got := k.Verify(signed, at.Add(-time.Hour)); got.State != source.SignatureExpired {
		t.Errorf("a commit of a day to come: got %+v", got)
	}
}

func TestAllowedSignersFaults(t *testing.T) {
	t.Parallel()
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOTyZRbMXnuPJQHp7SrJCBCpzAh2HZuMqTIGYTnH5G4t"
	for line, want := range map[string]string{
		"":                                       "f: it names no signer; want lines such as",
		"alex@example.org":                       `f:1: "" is no kind of key`,
		"alex@example.org cert-authority " + key: "f:1: cert-authority: certificates are not supported; want a line for the key of each signer",
		"alex@example.org cert-authority,namespaces=\"git\" " + key:              "f:1: cert-authority: certificates are not supported",
		"alex@example.org verify-required " + key:                                `f:1: "verify-required" is not known; want namespaces, valid-after or valid-before`,
		"alex@example.org namespaces=git " + key:                                 "f:1: namespaces: want its value in quotes",
		`alex@example.org namespaces="git ` + key:                                "f:1: namespaces: want its value in quotes",
		`alex@example.org namespaces="" ` + key:                                  "f:1: namespaces: want it once",
		`alex@example.org valid-after="2026" ` + key:                             `f:1: valid-after: want it once, as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, of UTC, not "2026"`,
		`alex@example.org valid-after="20261301" ` + key:                         "f:1: valid-after: want it once",
		`alex@example.org valid-after="20260101",valid-after="20260102" ` + key:  "f:1: valid-after: want it once",
		`alex@example.org valid-after="20260102",valid-before="20260102" ` + key: "f:1: valid-before is not after valid-after",
		`alex@example.org namespaces="git"x ` + key:                              `f:1: "x": want options with commas between`,
		`alex@example.org namespaces="git", ` + key:                              `f:1: ",": want options with commas between`,
		`"alex@example.org ` + key:                                               "f:1: a quote has no end",
		"alex@example.org,, " + key:                                              `f:1: "alex@example.org,," names nobody`,
		"! " + key:                                                               `f:1: "!" names nobody`,
		"alex@example.org ssh-dss AAAA":                                          `f:1: "ssh-dss" is no kind of key that is taken`,
		"alex@example.org ssh-ed25519 AAAA":                                      "f:1: the key cannot be read as ssh-ed25519",
		"alex@example.org ssh-ed25519 ////=":                                     "f:1: the key cannot be read",
		"alex@example.org ssh-rsa " + key[len("ssh-ed25519 "):]:                  "f:1: the key cannot be read as ssh-rsa",
		"alex@example.org " + key + "\nkim@example.org\n":                        "f:2: ",
	} {
		_, err := ParseKeyring(nil, &File{"f", []byte(line)})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", line, err, want)
		}
	}
}

func TestOpenPGPKeyringFaults(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	public, secret := o.pgpKey("Alex <alex@example.org>", "ed25519", "0", "")
	more, _ := o.pgpKey("*@example.org <*@example.org>", "ed25519", "0", "")
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"nothing":       {nil, "f: it holds no OpenPGP key that can be read"},
		"text":          {[]byte("alex"), "f: it holds no OpenPGP key that can be read"},
		"cut off":       {public[:len(public)/2], "f: "},
		"a private key": {secret, "f: it holds a private key, which does not belong there"},
		"damaged":       {append(append([]byte{}, public...), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\nx")...), "f: block 2 is no armored public key"},
		"text besides":  {append(append([]byte{}, public...), []byte("and more")...), "f: block 2 is no armored public key"},
		"too much":      {make([]byte, maxKeyring+1), "f: larger than"},
	} {
		if _, err := ParseKeyring(&File{"f", test.content}, nil); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	k, err := ParseKeyring(&File{"f", append(append([]byte{}, public...), more...)}, nil)
	if err != nil || k.Keys() != 2 {
		t.Fatalf("got %d keys, %v", k.Keys(), err)
	}
	raw := o.run(nil, "gpg", "--batch", "--export", "alex@example.org")
	if k, err := ParseKeyring(&File{"f", raw}, nil); err != nil || k.Keys() != 1 {
		t.Errorf("not armored: got %d keys, %v", k.Keys(), err)
	}
}

// Expired and revoked keys, as gpg has it; and a pattern in a key names nobody.
func TestOpenPGPKeysThatEnd(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	public, secret := o.pgpKey("Alex <*@example.org>", "ed25519", "1d", "")
	key, err := ParseKey(secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKeyring(&File{"f", public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := o.sign(key, plainCommit("x\n", time.Now()))
	if got := k.Verify(signed, time.Now()); !got.Good() || got.By("alex@example.org") || got.By("*@example.org") {
		t.Errorf("got %+v", got)
	}
	later := time.Now().Add(25 * time.Hour)
	if got := k.Verify(signed, later); got.State != source.SignatureExpired || !strings.Contains(got.Detail, "has expired") {
		t.Errorf("got %+v", got)
	}
	if _, err := key.Sign(plainCommit("x\n", later), later, nil); err == nil || !strings.Contains(err.Error(), "may not sign now") {
		t.Errorf("got %v", err)
	}
	if got := k.Verify(signed, time.Now().Add(-time.Hour)); got.State != source.SignatureBad || !strings.Contains(got.Detail, "still to come") {
		t.Errorf("got %+v", got)
	}
	revocation := string(o.read("openpgp-revocs.d/" + key.Fingerprint() + ".rev"))
	o.run([]byte(strings.ReplaceAll(revocation, ":-----BEGIN", "-----BEGIN")), "gpg", "--batch", "--import")
	revoked := o.run(nil, "gpg", "--batch", "--armor", "--export", key.Fingerprint())
	if k, err = ParseKeyring(&File{"f", revoked}, nil); err != nil {
		t.Fatal(err)
	}
	if got := k.Verify(signed, time.Now()); got.State != source.SignatureExpired || !strings.Contains(got.Detail, "revoked") {
		t.Errorf("got %+v", got)
	}
	if accepted, said := o.verifies(signed); accepted {
		t.Errorf("git takes a revoked key: %s", said)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	by := func(address string, signer ...string) bool {
		return source.Signature{State: source.SignatureGood, Signer: signer}.By(address)
	}
	for text, want := range map[string]bool{
		"alex@example.org|alex@example.org": true, "Alex@Example.org|alex@example.org": true, "alex@example.org|*@example.org": true,
		"alex@example.org|al?x@example.org": true, "alex@example.org|*": true, "alex@example.org|*org": true, "alex@example.orgy|*org": false,
		"alex@example.org|*@example.com": false, "alex@example.org|": false, "|*": false, "alex@example.org|?": false, "aab|*ab": true,
	} {
		address, pattern, _ := strings.Cut(text, "|")
		if got := by(address, pattern); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if by("kim@example.org", "*@example.org", "!kim@example.org") || !by("alex@example.org", "*@example.org", "!kim@example.org") || by("alex@example.org", "!kim@example.org") {
		t.Error("want negated patterns as ssh has them")
	}
	if (source.Signature{State: source.SignatureExpired, Signer: []string{"*"}}).By("alex@example.org") {
		t.Error("an expired key speaks for nobody")
	}
}

func FuzzKeyring(f *testing.F) {
	f.Add([]byte(`"a b",*@example.org namespaces="git",valid-after="20260101Z" ssh-ed25519 AAAA x`))
	f.Add([]byte(keyBegin + "\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, files := range [][2]*File{{{"f", content}, nil}, {nil, {"f", content}}} {
			if k, err := ParseKeyring(files[0], files[1]); (err == nil) != (k.Keys() > 0) {
				t.Errorf("%d keys and %v", k.Keys(), err)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add(plainCommit("x\n", time.Unix(1, 0)), "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----")
	f.Add(plainCommit("x\n", time.Unix(1, 0)), "-----BEGIN PGP SIGNATURE-----\n\niHUE\n-----END PGP SIGNATURE-----")
	f.Fuzz(func(t *testing.T, object []byte, armored string) {
		objects := [][]byte{object}
		if signed, err := Signed(object, armored); err == nil {
			if payload, _, err := split(signed); err == nil && string(payload) != string(object) {
				t.Error("another text than was signed")
			}
			objects = append(objects, signed)
		}
		for _, o := range objects {
			if got := (Keyring{}).Verify(o, time.Unix(2, 0)); got.Good() || got.Detail == "" {
				t.Errorf("got %+v", got)
			}
		}
	})
}

// matches agrees with the plainest way to say the same.
func TestMatchesByChance(t *testing.T) {
	t.Parallel()
	var plain func(p, s string) bool
	plain = func(p, s string) bool {
		switch {
		case p == "":
			return s == ""
		case p[0] == '*':
			return plain(p[1:], s) || s != "" && plain(p, s[1:])
		}
		return s != "" && (p[0] == '?' || p[0] == s[0]) && plain(p[1:], s[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?]{0,7}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[ab]{1,8}`).Draw(t, "text")
		got := source.Signature{State: source.SignatureGood, Signer: []string{pattern}}.By(text)
		if got != plain(pattern, text) {
			t.Fatal(fmt.Sprintf("%s and %s: got %v", pattern, text, got))
		}
	})
}
