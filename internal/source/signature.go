package source

import "strings"

// SignatureState is what became of the look at a commit's signature.
type SignatureState string

// The states of a signature. Only SignatureGood says that somebody known made
// the commit what it is.
const (
	SignatureUnchecked SignatureState = "unchecked"   // nobody looked, or the keys cannot be read
	SignatureUnsigned  SignatureState = "unsigned"    // there is none
	SignatureGood      SignatureState = "good"        // by a key that is known, and counted then
	SignatureUnknown   SignatureState = "unknown-key" // by a key that is not known
	SignatureExpired   SignatureState = "expired"     // by a known key, which did not count then, or counts no more
	SignatureBad       SignatureState = "bad"         // it is not of this commit, or cannot be understood
)

// Signature is what is known of a commit's signature. All but State may be
// empty.
type Signature struct {
	State SignatureState
	// Signer are the addresses that the key's owner goes by, by the word of whoever
	// listed the key: addresses, or patterns of these. Empty unless Good or Expired.
	Signer []string
	Key    string // fingerprint, as gpg or ssh-keygen print it
	Detail string // for people: why it is not good
}

// Good reports whether the commit is signed by somebody known.
func (s Signature) Good() bool { return s.State == SignatureGood }

// By reports whether whoever signed goes by an address.
func (s Signature) By(address string) bool {
	if !s.Good() || address == "" {
		return false
	}
	lower := make([]string, len(s.Signer))
	for i, pattern := range s.Signer {
		lower[i] = Address(pattern)
	}
	return MatchesAny(lower, Address(address))
}

// MatchesAny has the lists of patterns of ssh: one matches, and none of those
// behind an exclamation mark.
func MatchesAny(patterns []string, text string) bool {
	found := false
	for _, pattern := range patterns {
		rest, negated := strings.CutPrefix(pattern, "!")
		if !matches(rest, text) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matches has the wildcards of ssh: * is any text, ? any one byte. It takes
// time by the product of the lengths at most.
func matches(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark, p = p, t, p+1
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
