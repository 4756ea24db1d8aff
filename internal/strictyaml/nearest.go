package strictyaml

import "strings"

// maxWord bounds the quadratic comparison of two words.
const maxWord = 64

// Nearest is the candidate that word was likely meant to be, or "". Among
// equally near ones it is the first.
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", 1+max(1, min(len(word), maxWord)/3)
	for _, candidate := range candidates {
		if strings.EqualFold(word, candidate) {
			return candidate
		}
		if d := distance(strings.ToLower(word), strings.ToLower(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance counts the letters to insert, drop, replace or swap with their
// neighbour to make one word of the other.
func distance(a, b string) int {
	a, b = a[:min(len(a), maxWord)], b[:min(len(b), maxWord)]
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// DidYouMean is a clause to end a message with: the nearest candidate, or all
// of them where none is near.
func DidYouMean(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return `did you mean "` + near + `"?`
	}
	return OneOf(candidates)
}

// OneOf is a clause to end a message with: all that would be right.
func OneOf(candidates []string) string {
	switch len(candidates) {
	case 0:
		return "nothing is known here; remove it"
	case 1:
		return "want " + candidates[0]
	case 2:
		return "want " + candidates[0] + " or " + candidates[1]
	}
	last := len(candidates) - 1
	return "want one of " + strings.Join(candidates[:last], ", ") + " or " + candidates[last]
}
