// Package evidence reads what is recorded of images beside the environments
// that run them: signatures, provenance, vulnerability scans and test results,
// as signed statements about a digest. A statement counts when one of the keys
// that the policies name has signed it and may speak of such things; what does
// not count is told with the reason, and never left out without a word.
//
// Judging by files keeps it the same for everybody, offline and on replay: no
// registry and no transparency log is asked. That a statement is the newest is
// not told by its signature: whoever can take a file away can show an older one,
// and only rules that ask for its age bound that.
package evidence

// Kind is what a statement is about.
type Kind string

// The kinds of statements, as the policies name them where they say of what a
// key may speak.
const (
	KindSignature  Kind = "signature"
	KindProvenance Kind = "provenance"
	KindScan       Kind = "scan"
	KindTest       Kind = "test"
)

// Facts are what rules see: of each digest that was asked for, and of files that
// do not count.
type Facts struct {
	Images  []Image   `json:"images"` // by digest
	Refused []Refused `json:"refused"`
}

// Filled has lists that are empty in place of those that are not there.
func (f Facts) Filled() Facts {
	filled := Facts{Images: append([]Image{}, f.Images...), Refused: append([]Refused{}, f.Refused...)}
	for i, image := range filled.Images {
		filled.Images[i] = Image{image.Digest, append([]Signature{}, image.Signatures...), append([]Provenance{}, image.Provenance...),
			append([]Scan{}, image.Scans...), append([]Test{}, image.Tests...)}
		for n := range image.Scans {
			filled.Images[i].Scans[n].Worst = append([]string{}, image.Scans[n].Worst...)
		}
		for n := range image.Tests {
			filled.Images[i].Tests[n].Failed = append([]string{}, image.Tests[n].Failed...)
		}
	}
	for i, refused := range f.Refused {
		filled.Refused[i].Digests = append([]string{}, refused.Digests...)
	}
	return filled
}

// Image is what is recorded of one digest.
type Image struct {
	Digest     string       `json:"digest"`
	Signatures []Signature  `json:"signatures"`
	Provenance []Provenance `json:"provenance"`
	Scans      []Scan       `json:"scans"`
	Tests      []Test       `json:"tests"`
}

// Record says which key has signed a statement, and where it stands.
type Record struct {
	Key  string `json:"key"`
	File string `json:"file"`
}

// Signature says no more than that somebody vouches for the image.
type Signature struct{ Record }

// Provenance says what built the image, and from what.
type Provenance struct {
	Record
	Builder  string `json:"builder"`
	Source   string `json:"source"`   // "" where it is not told
	Finished string `json:"finished"` // RFC 3339; "" where it is not told
}

// Scan is what a scanner found, each vulnerability counted once.
type Scan struct {
	Record
	Scanner  string   `json:"scanner"`  // without its version
	Version  string   `json:"version"`  // "" where it is not told
	Finished string   `json:"finished"` // RFC 3339
	Critical int      `json:"critical"`
	High     int      `json:"high"`
	Worst    []string `json:"worst"` // names of critical ones, the first few
}

// Test is how a suite of tests ended: PASSED, WARNED or FAILED.
type Test struct {
	Record
	Result string   `json:"result"`
	URL    string   `json:"url"`    // of the run; "" where it is not told
	Failed []string `json:"failed"` // names, the first few
}

// Refused is a statement that does not count.
type Refused struct {
	File    string   `json:"file"`
	Reason  string   `json:"reason"`
	Digests []string `json:"digests"` // that it claims to be about; empty where that cannot be told
}

// shown bounds lists of names that are only there for people.
const shown = 10

func firstOf(names []string) []string { return append([]string{}, names[:min(shown, len(names))]...) }
