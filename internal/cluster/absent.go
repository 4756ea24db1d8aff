package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// manyMissing are more than are asked for one by one.
	manyMissing = 100
	namesPage   = 500
	// maxNamePages bounds what others may have in a namespace for their names to
	// be listed.
	maxNamePages = 100
)

// present leaves out what a list of all names in a namespace does not have: an
// inventory of thousands whose objects are gone is no reason for thousands of
// requests. Where that list cannot be had, all of them are asked for.
func (r *reader) present(ctx context.Context, k kind, namespace string, those []want) []want {
	if len(those) <= manyMissing {
		return those
	}
	there, complete := map[string]bool{}, false
	options := metav1.ListOptions{Limit: namesPage}
	for range maxNamePages {
		var page *metav1.PartialObjectMetadataList
		err := r.c.attempt(ctx, func(ctx context.Context) (err error) {
			page, err = r.c.metadata.Resource(k.resource).Namespace(namespace).List(ctx, options)
			return err
		})
		if err != nil {
			return those
		}
		for i := range page.Items {
			there[page.Items[i].Name] = true
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			complete = true
			break
		}
	}
	if !complete {
		return those
	}
	var left []want
	for _, one := range those {
		if there[one.id.Name] {
			left = append(left, one)
		} else {
			r.found(one.id, nil)
		}
	}
	return left
}
