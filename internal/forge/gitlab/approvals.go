package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// approvals are as GitLab shows them. The SDK leaves out when they were given.
type approvals struct {
	ApprovedBy []struct {
		User       *sdk.BasicUser `json:"user"`
		ApprovedAt *time.Time     `json:"approved_at"`
	} `json:"approved_by"`
}

// reviews are the approvals that stand, and after them the requests for changes:
// GitLab keeps no others. It lets only those approve whose word counts.
func (a *API) reviews(ctx context.Context, number int64) ([]forge.Review, error) {
	var given approvals
	if err := a.read(ctx, &given, number, "approvals"); err != nil {
		return nil, err
	}
	reviewers, _, err := a.api.MergeRequests.GetMergeRequestReviewers(a.project, number, sdk.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if len(given.ApprovedBy) > forge.MaxReviews || len(reviewers) > forge.MaxReviews {
		return nil, fmt.Errorf("%w: merge request %d has more than %d reviews", forge.ErrRejected, number, forge.MaxReviews)
	}
	var versions []*sdk.MergeRequestDiffVersion
	if len(given.ApprovedBy) > 0 {
		if versions, err = a.versions(ctx, number); err != nil {
			return nil, err
		}
	}
	var reviews []forge.Review
	for _, each := range given.ApprovedBy {
		reviews = append(reviews, forge.Review{By: account(each.User), Verdict: forge.Approved, Official: true, At: headAt(versions, each.ApprovedAt)})
	}
	for _, each := range reviewers {
		if each != nil && each.State == "requested_changes" {
			reviews = append(reviews, forge.Review{By: account(each.User), Verdict: forge.ChangesRequested, Official: true})
		}
	}
	return reviews, nil
}

// versions are what the source branch was, the newest first.
func (a *API) versions(ctx context.Context, number int64) ([]*sdk.MergeRequestDiffVersion, error) {
	var all []*sdk.MergeRequestDiffVersion
	for page := int64(1); page <= maxPages; page++ {
		list, response, err := a.api.MergeRequests.GetMergeRequestDiffVersions(a.project, number, &sdk.GetMergeRequestDiffVersionsOptions{
			ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize},
		}, sdk.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	all = slices.DeleteFunc(all, func(v *sdk.MergeRequestDiffVersion) bool { return v == nil || v.CreatedAt == nil })
	slices.SortStableFunc(all, func(a, b *sdk.MergeRequestDiffVersion) int { return b.CreatedAt.Compare(*a.CreatedAt) })
	return all, nil
}

// headAt is what an approval was given to: the newest version that was there
// before it. GitLab does not say; "" is that it cannot be told.
func headAt(versions []*sdk.MergeRequestDiffVersion, at *time.Time) source.Revision {
	if at == nil {
		return ""
	}
	for _, version := range versions {
		if !version.CreatedAt.After(*at) {
			head, _ := source.ParseRevision(version.HeadCommitSHA)
			return head
		}
	}
	return ""
}

// read asks for what the SDK reads only a part of.
func (a *API) read(ctx context.Context, answer any, number int64, what string) error {
	path := "projects/" + sdk.PathEscape(a.project) + "/merge_requests/" + strconv.FormatInt(number, 10) + "/" + what
	request, err := a.api.NewRequest(http.MethodGet, path, nil, []sdk.RequestOptionFunc{sdk.WithContext(ctx)})
	if err != nil {
		return err
	}
	_, err = a.api.Do(request, answer)
	return err
}
