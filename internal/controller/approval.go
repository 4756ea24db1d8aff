package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// agreement is what the commit that brought a pinned release says: who brought
// it, and whether it is a break-glass override.
type agreement struct {
	approvers []source.Person // of the commit on the branch, and of the one it merged
	override  string          // its reason; "" is none
	reviewed  bool            // merged by somebody else than its author
}

// errTooOld: nobody can tell any more who moved the pin.
var errTooOld = fmt.Errorf("the pin was moved more than %d commits ago; move it again to approve", maxSuspectRange)

// agreed finds the first-parent commit that last changed what the environment
// is to run, and reads it.
func (v *evaluation) agreed(ctx context.Context) (agreement, error) {
	mover, err := v.mover(ctx, v.head)
	if err != nil {
		return agreement{}, err
	}
	a := agreement{approvers: []source.Person{mover.Author}}
	a.override, _ = mover.Override()
	for _, parent := range mover.Parents[min(1, len(mover.Parents)):] {
		side, err := v.mover(ctx, parent)
		if errors.Is(err, errTooOld) || errors.Is(err, source.ErrUnknownRevision) {
			continue // it only merged the branch, or brought nothing of this
		}
		if err != nil {
			return agreement{}, err
		}
		a.approvers = append(a.approvers, side.Author)
		a.reviewed = a.reviewed || !samePerson(mover.Author, side.Author) && !v.nobody(mover.Author)
		if reason, found := side.Override(); found && a.override == "" {
			a.override = reason
		}
	}
	return a, nil
}

// mover is the newest commit of a first-parent line that changed the
// environment's revision or path.
func (v *evaluation) mover(ctx context.Context, from source.Revision) (source.Commit, error) {
	commits, err := v.c.Source.FirstParents(ctx, "", from, maxSuspectRange)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return source.Commit{}, err
	}
	var last source.Commit
	var hash string
	for i, commit := range commits {
		snapshot, err := v.c.Source.Snapshot(commit.Revision)
		if err != nil {
			return source.Commit{}, err
		}
		now, err := snapshot.Hash(v.file.File)
		if err != nil {
			now = "" // not there
		}
		if i > 0 && now == hash {
			last = commit
			continue
		}
		hash = now
		file, found, err := promotion.LoadFile(snapshot, v.file.ID)
		if err != nil && !errors.Is(err, promotion.ErrInvalidFile) {
			return source.Commit{}, err
		}
		if !found || err != nil || file.Revision != v.file.Revision || file.Path != v.file.Path {
			if i == 0 {
				return source.Commit{}, source.ErrUnknownRevision
			}
			return last, nil
		}
		last = commit
	}
	if len(commits) >= maxSuspectRange {
		return source.Commit{}, errTooOld
	}
	return last, nil
}

// nobody: the daemon, and addresses that no person reads.
func (v *evaluation) nobody(p source.Person) bool {
	address := strings.ToLower(p.Email)
	return address == "" || strings.EqualFold(address, v.c.Self) || strings.HasPrefix(address, "noreply@")
}

func samePerson(a, b source.Person) bool { return strings.EqualFold(a.Email, b.Email) }

// approved holds what was agreed against what the environment asks for. The
// answer says who is missing.
func (v *evaluation) approved(ctx context.Context, a agreement) (bool, string, error) {
	asked := v.file.Promotion.Approval
	var authors []source.Person
	if asked.NotAuthor {
		var err error
		authors, err = v.c.Source.Authors(ctx, v.lastGood.Revision, v.file.Revision, maxAuthors)
		if err != nil {
			return false, fmt.Sprintf("who wrote what %s brings cannot be told: %v", v.file.Revision.Short(), err), nil
		}
	}
	var counted, refused []string
	for _, person := range a.approvers {
		address := strings.ToLower(person.Email)
		switch {
		case slices.Contains(counted, address):
		case v.nobody(person):
			refused = append(refused, fmt.Sprintf("%s is no person", person))
		case len(asked.From) > 0 && !v.c.mayApprove(asked.From, address):
			refused = append(refused, fmt.Sprintf("%s is not among %s", person, strings.Join(asked.From, ", ")))
		case slices.ContainsFunc(authors, func(author source.Person) bool { return samePerson(author, person) }):
			refused = append(refused, fmt.Sprintf("%s wrote a part of it", person))
		default:
			counted = append(counted, address)
		}
	}
	required := max(1, asked.Required)
	if len(counted) >= required {
		return true, "", nil
	}
	text := fmt.Sprintf("%d of %d approvals for %s", len(counted), required, v.file.Revision.Short())
	if len(refused) > 0 {
		text += ": " + strings.Join(refused, "; ")
	}
	return false, text, nil
}

// maxAuthors bounds the commits whose authors are looked at.
const maxAuthors = 2000

// mayApprove looks an address up among addresses and groups. A group that the
// daemon's configuration does not know has no members.
func (c *Controller) mayApprove(from []string, address string) bool {
	for _, entry := range from {
		if strings.EqualFold(entry, address) {
			return true
		}
		for _, member := range c.Groups[entry] {
			if strings.EqualFold(member, address) {
				return true
			}
		}
	}
	return false
}
