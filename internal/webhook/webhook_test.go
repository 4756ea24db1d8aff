package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	old   = "old-secret-of-sixteen-and-more"
	fresh = "new-secret-of-sixteen-and-more"
)

func parse(t testing.TB, lines ...string) Secrets {
	t.Helper()
	s, err := ParseSecrets([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func head(pairs ...string) map[string][]string {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// The first two are the examples in GitHub's documentation and in the Standard
// Webhooks specification, which GitLab follows.
func TestAuthentic(t *testing.T) {
	t.Parallel()
	const standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	const signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	signed := func(signature string) map[string][]string {
		return head("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", signature,
			"X-Gitlab-Event", "Push Hook")
	}
	both := []string{fresh, old}
	tests := []struct {
		name    string
		secrets []string
		header  map[string][]string
		body    string
		want    bool
	}{
		{"GitHub's example", []string{"It's a Secret to Everybody"},
			head("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), "Hello, World!", true},
		{"the specification's", []string{standard}, signed(signature), `{"test": 2432232314}`, true},
		{"among several secrets", []string{old, fresh, standard}, signed(signature), `{"test": 2432232314}`, true},
		{"among several signatures", []string{standard}, signed("v2,AAAA v1," + strings.Repeat("A", 43) + "= " + signature), `{"test": 2432232314}`, true},
		{"another body", []string{standard}, signed(signature), `{"test": 2432232315}`, false},
		{"a signing token signs only as itself", []string{old}, signed(signature), `{"test": 2432232314}`, false},
		{"GitHub, before the rotation", both, head("X-Hub-Signature-256", "sha256="+sign(old, "x")), "x", true},
		{"GitHub, after it", both, head("X-Hub-Signature-256", "sha256="+sign(fresh, "x")), "x", true},
		{"GitHub, long after it", []string{fresh}, head("X-Hub-Signature-256", "sha256="+sign(old, "x")), "x", false},
		{"Gitea", both, head("X-Gitea-Signature", sign(fresh, "x"), "X-Hub-Signature-256", "sha256="+sign(fresh, "x")), "x", true},
		{"Gitea, another body", both, head("X-Gitea-Signature", sign(fresh, "x")), "y", false},
		{"Gitea, cut short", both, head("X-Gitea-Signature", sign(fresh, "xy")), "x", false},
		{"Gitea's word counts, whatever else is said", both,
			head("X-Gitea-Signature", sign("guess", "x"), "X-Hub-Signature-256", "sha256="+sign(fresh, "x")), "x", false},
		{"GitLab's token", both, head("X-Gitlab-Token", old), "x", true},
		{"GitLab's token, wrong", both, head("X-Gitlab-Token", old+"x"), "x", false},
		{"GitLab's token, empty in the end", both, head("X-Gitlab-Token", " "), "x", false},
		{"an empty body", both, head("X-Gitea-Signature", sign(old, "")), "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := Open(test.header, parse(t, test.secrets...))
			if err != nil {
				t.Fatal(err)
			}
			for part := range strings.SplitSeq(test.body, "") {
				if _, err := c.Write([]byte(part)); err != nil {
					t.Fatal(err)
				}
			}
			if got := c.Authentic(); got != test.want {
				t.Errorf("authentic: %v, want %v", got, test.want)
			}
		})
	}
}

func TestSignaturesThatAreNone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		header map[string][]string
		want   string
	}{
		{head(), "no signature; want X-Hub-Signature-256"},
		{head("X-Hub-Signature", "sha1=0"), "no signature"},
		{head("X-Gitea-Signature", ""), "no signature"},
		{head("X-Gitlab-Event", "Push Hook"), "no signature"},
		{head("X-Hub-Signature-256", sign(old, "")), "X-Hub-Signature-256: want sha256= and 64"},
		{head("X-Hub-Signature-256", "sha256=abc"), "want 64 hexadecimal digits"},
		{head("X-Gitea-Signature", sign(old, "")+"00"), "X-Gitea-Signature: want 64"},
		{head("X-Gitea-Signature", "x", "X-Gitea-Signature", "y"), "X-Gitea-Signature: want it once"},
		{head("webhook-signature", "v1,x"), "want webhook-id and webhook-timestamp beside it"},
		{head("webhook-signature", "v1,x", "webhook-id", "1", "webhook-timestamp", "2"), "want v1, and a signature in base64"},
		{head("webhook-signature", "v1,x", "webhook-id", "1", "webhook-id", "2", "webhook-timestamp", "2"), "Webhook-Id: want it once"},
	}
	for _, test := range tests {
		if _, err := Open(test.header, parse(t, old)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.header, err, test.want)
		}
	}
}

func TestDeliveryIsAsALogMayShowIt(t *testing.T) {
	t.Parallel()
	c, err := Open(head("X-Gitlab-Token", "x", "X-Gitlab-Event", "Push\x1b[31m Hook\n", "X-Gitlab-Event-UUID", strings.Repeat("7", 500)), parse(t, old))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Delivery{GitLab, "Push[31m Hook", strings.Repeat("7", 64)}); c.Delivery != want {
		t.Errorf("%+v, want %+v", c.Delivery, want)
	}
}

func TestFilesOfSecrets(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                                   "no secret; want one a line",
		"\n \n":                              "no secret",
		"short":                              "line 1: want at least 16 characters",
		old + "\n\nshort\n":                  "line 3: want at least 16",
		"whsec_this is no base64 at all":     "line 1: want base64 after whsec_",
		"0123456789abcdef\x00":               "line 1: want text",
		strings.Repeat(old+"\n", 6):          "6 secrets; want at most 5",
		strings.Repeat("x", MaxFile+1):       "want at most 16384 bytes",
		" " + old + " \r\n\r\n" + fresh + "": "",
	} {
		s, err := ParseSecrets([]byte(content))
		switch {
		case want == "" && (err != nil || len(s.each) != 2):
			t.Errorf("%.40q: %d secrets, %v", content, len(s.each), err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.40q: %v, want %q", content, err, want)
		}
		if err != nil && strings.Contains(err.Error(), old) {
			t.Errorf("%v tells a secret", err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := parse(t, old, fresh)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%#v %+v %s %q %d", s, s, s, s, s), fmt.Sprintf("%v", []Secrets{s}), string(encoded)} {
		if strings.Contains(text, "secret-of") {
			t.Error(text)
		}
	}
}

// Whoever knows a secret passes; a request changed anywhere does not.
func TestWhoKnowsASecretPasses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		known := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9/+]{16,40}`), 1, MaxSecrets, rapid.ID).Draw(t, "secrets")
		secrets, err := ParseSecrets([]byte(strings.Join(known, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		key := rapid.SampledFrom(append([]string{"somebody else's secret"}, known...)).Draw(t, "key")
		header, value := "X-Gitea-Signature", sign(key, string(body))
		if rapid.Bool().Draw(t, "as GitHub") {
			header, value = "X-Hub-Signature-256", "sha256="+value
		}
		want := key != "somebody else's secret"
		if rapid.Bool().Draw(t, "changed") {
			body, want = append(body, 'x'), false
		}
		c, err := Open(head(header, value), secrets)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(body)
		if c.Authentic() != want {
			t.Fatalf("authentic: %v, want %v", c.Authentic(), want)
		}
	})
}

// No header and no body passes but with one of the three things that only who
// knows the secret can make, told here in another way.
func FuzzOpen(f *testing.F) {
	f.Add("X-Hub-Signature-256", "sha256="+sign(old, "{}"), "", "", []byte("{}"))
	f.Add("X-Gitea-Signature", sign(old, "{}"), "X-Gitea-Event", "push", []byte("{}"))
	f.Add("Webhook-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,", "1614265330", "msg_p5", []byte(`{"test": 2432232314}`))
	f.Add("X-Gitlab-Token", old, "X-Gitlab-Event", "Push Hook", []byte{})
	f.Add("X-Gitlab-Token", "", "X-Gitea-Signature", "00", []byte{0})
	key := bytes.Repeat([]byte{7}, 32)
	signing := "whsec_" + base64.StdEncoding.EncodeToString(key)
	f.Fuzz(func(t *testing.T, name, value, second, third string, body []byte) {
		header := head(name, value, second, third, "Webhook-Id", third, "Webhook-Timestamp", second)
		c, err := Open(header, parse(t, old, signing))
		if err != nil {
			return
		}
		if _, err := c.Write(body); err != nil || len(c.ID) > 64 || len(c.Event) > 64 {
			t.Fatalf("%v, %+v", err, c.Delivery)
		}
		get := http.Header(header).Get
		standard := func(of string) bool {
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%s.%s.%s", get("Webhook-Id"), get("Webhook-Timestamp"), body)
			return strings.Contains(of, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		valid := get("X-Gitlab-Token") == old || get("X-Gitlab-Token") == signing || standard(get("Webhook-Signature"))
		for _, secret := range []string{old, signing} {
			valid = valid || strings.EqualFold(get("X-Gitea-Signature"), sign(secret, string(body))) ||
				strings.EqualFold(get("X-Hub-Signature-256"), "sha256="+sign(secret, string(body)))
		}
		if c.Authentic() && !valid {
			t.Fatalf("%v with %q passes", header, body)
		}
	})
}
