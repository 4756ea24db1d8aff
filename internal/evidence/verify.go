package evidence

import (
	"fmt"
	"slices"
	"strings"
)

// Statements are what one file says, verified by some keys. They do not change.
type Statements struct {
	verified []verified
	refused  []Refused // File is left out
}

// verified is a statement, and the key that counts.
type verified struct {
	statement
	key string
}

// Verify reads one file. What is wrong with it is in the result: a file that
// does not count is told of.
func Verify(content []byte, keys Keys) Statements {
	var all Statements
	opened, err := envelopes(content)
	if err != nil {
		all.refused = []Refused{{Reason: err.Error()}}
	}
	for _, e := range opened {
		s, err := readStatement(e)
		key, why := s.signer(e, err, keys)
		if why != "" {
			all.refused = append(all.refused, Refused{Reason: why, Digests: s.digests})
			continue
		}
		all.verified = append(all.verified, verified{s, key})
	}
	return all
}

// signer is the first key that has signed and may speak; without one, why.
func (s statement) signer(e envelope, problem error, keys Keys) (name, why string) {
	why = "no key that the policies name has signed it"
	for _, key := range keys {
		if !slices.ContainsFunc(e.signatures, func(signature []byte) bool { return key.verifies(e.message, signature) }) {
			continue
		}
		if problem != nil {
			return "", fmt.Sprintf("%s has signed it, but it cannot be read: %v", key.Name, problem)
		}
		if why = key.mayTell(s); why == "" {
			return key.Name, ""
		}
	}
	return "", why
}

// maxRefused bounds what is told of files that do not count.
const maxRefused = 100

// Of picks what files say of some digests. Each digest is there, whatever is
// recorded of it. Of what does not count it tells what might be about them.
func Of(digests []string, folder Folder, statements []Statements) Facts {
	digests = slices.Sorted(slices.Values(digests))
	var facts Facts
	for _, digest := range slices.Compact(digests) {
		facts.Images = append(facts.Images, Image{Digest: digest})
	}
	for i, s := range statements {
		name := folder.Files[i].Name
		for _, v := range s.verified {
			facts.add(v, name)
		}
		for _, refused := range s.refused {
			facts.refuse(refused, name)
		}
	}
	for _, refused := range folder.Refused {
		facts.refuse(refused, refused.File)
	}
	return facts.Filled()
}

// image is nil where nobody asked for the digest.
func (f *Facts) image(digest string) *Image {
	i, asked := slices.BinarySearchFunc(f.Images, digest, func(image Image, digest string) int { return strings.Compare(image.Digest, digest) })
	if !asked {
		return nil
	}
	return &f.Images[i]
}

func (f *Facts) add(v verified, name string) {
	record := Record{Key: v.key, File: name}
	v.provenance.Record, v.scan.Record, v.test.Record = record, record, record
	for _, digest := range v.digests {
		image := f.image(digest)
		switch {
		case image == nil:
		case v.kind == KindSignature:
			image.Signatures = append(image.Signatures, Signature{record})
		case v.kind == KindProvenance:
			image.Provenance = append(image.Provenance, v.provenance)
		case v.kind == KindScan:
			image.Scans = append(image.Scans, v.scan)
		case v.kind == KindTest:
			image.Tests = append(image.Tests, v.test)
		}
	}
}

func (f *Facts) refuse(refused Refused, name string) {
	var about []string
	for _, digest := range refused.Digests {
		if f.image(digest) != nil {
			about = append(about, digest)
		}
	}
	if len(about) == 0 && len(refused.Digests) > 0 || len(f.Refused) >= maxRefused {
		return
	}
	f.Refused = append(f.Refused, Refused{File: name, Reason: refused.Reason, Digests: about})
}
