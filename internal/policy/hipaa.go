package policy

import (
	"fmt"
	"slices"
)

// addressable are the implementation specifications that 45 CFR 164.306(d)(3)
// lets an entity leave out, where it writes down why and what it does instead.
var addressable = []string{
	"164.308(a)(3)(ii)(A)", "164.308(a)(3)(ii)(B)", "164.308(a)(3)(ii)(C)",
	"164.308(a)(4)(ii)(B)", "164.308(a)(4)(ii)(C)",
	"164.308(a)(5)(ii)(A)", "164.308(a)(5)(ii)(B)", "164.308(a)(5)(ii)(C)", "164.308(a)(5)(ii)(D)",
	"164.308(a)(7)(ii)(D)", "164.308(a)(7)(ii)(E)",
	"164.310(a)(2)(i)", "164.310(a)(2)(ii)", "164.310(a)(2)(iii)", "164.310(a)(2)(iv)",
	"164.310(d)(2)(iii)", "164.310(d)(2)(iv)",
	"164.312(a)(2)(iii)", "164.312(a)(2)(iv)", "164.312(c)(2)", "164.312(e)(2)(i)", "164.312(e)(2)(ii)",
}

// standards say what is to come about, and leave the means to the entity: a
// technical rule is one of several ways to meet one (164.306(b)). 164.312(b) and
// (d) have no specifications of their own, and are required as they are.
var standards = []string{
	"164.308(a)(1)(i)", "164.308(a)(3)(i)", "164.308(a)(4)(i)", "164.308(a)(5)(i)", "164.308(a)(6)(i)", "164.308(a)(7)(i)", "164.308(a)(8)",
	"164.310(a)(1)", "164.310(d)(1)", "164.312(a)(1)", "164.312(c)(1)", "164.312(e)(1)",
}

// Addressable reports whether a paragraph may be left out for a documented
// reason and an equivalent measure.
func Addressable(cite string) bool { return slices.Contains(addressable, cite) }

// required is the first paragraph that a rule cites and HIPAA requires as it is
// written; "" is none. A paragraph that nobody lists counts as required.
func (r Rule) required() string {
	for _, h := range r.HIPAA {
		if !Addressable(h.Cite) && !slices.Contains(standards, h.Cite) {
			return h.Cite
		}
	}
	return ""
}

// CheckWaiver says why a rule cannot be waived as the exception has it.
func (r Rule) CheckWaiver(e Exception) error {
	switch cite := r.required(); {
	case cite != "":
		return fmt.Errorf("%s is not waivable: it cites 45 CFR %s, which is required and not addressable; fix what breaks it", r.ID, cite)
	case !r.Waivable:
		return fmt.Errorf("%s is not waivable; fix what breaks it", r.ID)
	case len(r.HIPAA) > 0 && (e.Rationale == "" || e.AlternativeMeasure == ""):
		return fmt.Errorf("%s cites 45 CFR %s, which may be met by other means: want spec.rationale (why it is not reasonable and appropriate here) "+
			"and spec.alternativeMeasure (what is done instead), as 164.306(d)(3) asks", r.ID, r.HIPAA[0].Cite)
	}
	return nil
}
