package plan

// Explain is a reason of a change in words, or "".
func Explain(reason string) string { return explained[reason] }

var explained = map[string]string{
	ReasonAdopted:          "is there already, and was not this environment's",
	ReasonTakenOver:        "belonged to an environment that this one was",
	ReasonCompleted:        "has run with this very content",
	ReasonHookFailed:       "failed before, and runs again",
	ReasonImmutable:        "a field changes that cannot be changed in place",
	ReasonTerminating:      "is being deleted, and made again once it is gone",
	ReasonProtected:        "the environment says protect",
	ReasonInventoryRebuilt: "the inventory was lost and rebuilt; a person has to agree",
	ReasonHolds:            "what is in it, or of its kind, stays",
	ReasonProtectedKind:    "holds data or other objects, and does not allow it",
	ReasonPruneNever:       "says chaperone.dev/prune: never",
	ReasonPruneDisabled:    "the environment says prune: false",
	ReasonSystemNamespace:  "the system's",
	ReasonOwnObject:        "the daemon's own",
	ReasonHasOwner:         "another object owns it, and decides",
	ReasonPartialRead:      "a part of the API does not answer; decided when it is back",
	ReasonMassDeletion:     "too much to delete in a restore",
	ReasonGone:             "is not there any more",
	ReasonNoResult:         "a hook that is gone, and nobody saw how it ended",
	ReasonForeign:          "is somebody else's by now",
}
