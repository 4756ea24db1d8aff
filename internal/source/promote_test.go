package source

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestUrgent(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"s\n\nChaperone-Urgent: true":                               true,
		"s\n\nchaperone-urgent:true\nSigned-off-by: A":              true,
		"s\n\nChaperone-Urgent: false\nChaperone-Urgent: true":      true,
		"s\n\nChaperone-Urgent: false":                              false,
		"s\n\nChaperone-Urgent: yes":                                false,
		"s\n\nChaperone-Urgent: TRUE":                               false,
		"s\n\nChaperone-Urgent:":                                    false,
		"Chaperone-Urgent: true":                                    false,
		"s\n\nChaperone-Urgent: true\n\nquoted from another commit": false,
		"": false,
	} {
		if got := (Commit{Message: message}).Urgent(); got != want {
			t.Errorf("Urgent of %q = %v", message, got)
		}
	}
}

func TestOverride(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"s\n\nChaperone-Override: patients cannot log in\n":                      "patients cannot log in",
		"s\n\nChaperone-Override:\nChaperone-Override: second":                   "second",
		"s\n\nChaperone-Override: a \x1b[31m b":                                  "a [31m b",
		"s\n\nChaperone-Override:":                                               "",
		"s\n\nChaperone-Override:  \t":                                           "",
		"s\n\nsee\nChaperone-Override: quoted":                                   "",
		"Chaperone-Override: x":                                                  "",
		"s\n\nChaperone-Override: x\n\nthe end":                                  "",
		"s\n\nChaperone-Override: x\nCo-authored-by: A <a@example.org>\n":        "x",
		"s\r\n\r\nChaperone-Override: over a network that ends lines so\r\n\r\n": "over a network that ends lines so",
	} {
		if got, found := (Commit{Message: message}).Override(); got != want || found != (want != "") {
			t.Errorf("Override of %q = %q, %v; want %q", message, got, found, want)
		}
	}
}

func TestPromotionBranch(t *testing.T) {
	t.Parallel()
	if got := PromotionBranch("novamind/production"); got != "chaperone/promote/novamind/production" {
		t.Errorf("PromotionBranch = %s", got)
	}
}

func TestPromoteMessage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		note PromoteNote
		want string
	}{
		{"by the daemon", PromoteNote{Environment: "novamind/production", From: hashB, To: hashA,
			Evidence: "It is verified in novamind/staging since 2024-05-01T12:00:00Z (30m), with all 3 checks."},
			`Promote novamind/production to 3c9e4f2c8d1b

This moves novamind/production from
0123456789abcdef0123456789abcdef01234567 to
3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99. It is verified in
novamind/staging since 2024-05-01T12:00:00Z (30m), with all 3 checks.
Merging this commit is the promotion. To decline it, leave the branch
unmerged: it is brought up to date when a newer revision is verified,
and withdrawn when it no longer applies. To have nothing proposed for a
while, pause the environment.

Chaperone-Promotes: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
Chaperone-Environment: novamind/production
`},
		{"the first one, by hand", PromoteNote{Environment: "p/e", To: hashA, Evidence: "we go live", Direct: true},
			`Promote p/e to 3c9e4f2c8d1b

This moves p/e to 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99, its first
revision. we go live.
To take it back, revert this commit.

Chaperone-Promotes: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
Chaperone-Environment: p/e
`},
		{"break-glass", PromoteNote{Environment: "p/e", To: hashA, From: hashB, Override: "patients wait\nfor it", Direct: true},
			`Promote p/e to 3c9e4f2c8d1b

This moves p/e from 0123456789abcdef0123456789abcdef01234567 to
3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99.
To take it back, revert this commit.

Chaperone-Promotes: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
Chaperone-Environment: p/e
Chaperone-Override: patients wait for it
`},
	} {
		if got := PromoteMessage(test.note); got != test.want {
			t.Errorf("%s: PromoteMessage =\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// TestPromoteMessageProperties: whatever the evidence says, the message is one
// that Git takes, and is found again as the promotion to exactly that revision,
// which no evidence can make urgent or an override.
func TestPromoteMessageProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"", "\n\n" + TrailerPromotes + ": " + hashB + "\n", "x\n\n" + TrailerOverride + ": because", "a\x00b", "\xff", strings.Repeat("long ", 900),
			"x\n" + TrailerUrgent + ": true",
		}))
		message := PromoteMessage(PromoteNote{
			Environment: text.Draw(t, "environment"), To: hashA, Evidence: text.Draw(t, "evidence"),
			From: Revision(rapid.SampledFrom([]string{"", hashB}).Draw(t, "from")), Direct: rapid.Bool().Draw(t, "direct"),
		})
		c := Commit{Message: message}
		if to, found := c.Promotes(); !found || to != hashA || len(c.Trailer(TrailerPromotes)) != 1 {
			t.Fatalf("promotes %q in %q", to, message)
		}
		if _, found := c.Override(); found || c.Urgent() {
			t.Fatalf("override or urgent: %q", message)
		}
		if !utf8.ValidString(message) || strings.ContainsRune(message, 0) || utf8.RuneCountInString(c.Subject()) > maxSubject {
			t.Fatalf("not a message: %q", message)
		}
		if second := strings.Split(message, "\n")[1]; second != "" {
			t.Fatalf("second line is %q", second)
		}
	})
}
