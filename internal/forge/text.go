package forge

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What every forge takes, the strictest of them deciding.
const (
	// MaxTitle in characters: GitLab's and Gitea's columns.
	MaxTitle = 250
	// MaxBody in bytes: GitHub takes 65,536 characters, and does not say which.
	MaxBody = 60_000
	// MaxDescription of a status in characters: GitHub's.
	MaxDescription = 140
)

// What is read of a forge's answers, and no more.
const (
	MaxOpen    = 500 // open pull requests
	MaxReviews = 500 // of one pull request
	MaxURL     = 2048
	maxWords   = 500 // characters of a forge's own words in an error
)

// Line makes one printable line of s, cut to a number of characters.
func Line(s string, limit int) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return strings.TrimRight(string(runes[:limit-1]), " ") + "…"
}

const cut = "\n\n… (the rest is cut off)\n"

// Text keeps lines, takes out what no person can see, and cuts to a number of
// bytes after a whole line where there is one. Writers of Markdown keep their
// texts shorter: what is cut here may leave a block open.
func Text(s string, limit int) string {
	s = printable(s)
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len(cut)]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	if r, size := utf8.DecodeLastRuneInString(s); r == utf8.RuneError {
		s = s[:len(s)-size]
	}
	if end := strings.LastIndexByte(s, '\n'); end > len(s)/2 {
		s = s[:end]
	}
	return s + cut
}

// printable drops control characters, and those that turn the direction of
// text around: what a reviewer sees must be what there is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD"))
}

// Link keeps an address that people may be sent to; "" is none.
func Link(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(text) > MaxURL {
		return ""
	}
	return text
}

// SameText reports whether a forge keeps both as one text.
func SameText(a, b string) bool { return plain(a) == plain(b) }

func plain(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
}

// Marked is a comment's text with the marker by which it is found again; people
// do not see it. The marker is a name of the daemon's own, such as "preview".
func Marked(marker, body string) string {
	head := markerLine(marker) + "\n"
	return head + Text(body, MaxBody-len(head))
}

// HasMarker reports whether a comment's text begins with the marker. Anybody can
// write one: whose comment it is has to be asked as well.
func HasMarker(marker, body string) bool {
	first, _, _ := strings.Cut(plain(body), "\n")
	return strings.TrimSpace(first) == markerLine(marker)
}

func markerLine(marker string) string { return "<!-- chaperone: " + marker + " -->" }
