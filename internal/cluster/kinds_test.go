package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// An answer that comes late tells of an earlier moment: it does not take the
// place of what a look has found that began after it.
func TestLateAnswerAboutKindsDoesNotTakeTheNewerOnesPlace(t *testing.T) {
	t.Parallel()
	asked, goOn := make(chan bool, 9), make(chan bool)
	var again atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api":
			fmt.Fprint(w, `{"kind":"APIVersions","versions":["v1"]}`)
		case "/api/v1":
			fmt.Fprint(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["get","list","patch"]}]}`)
		case "/apis":
			group := `{"name":"example.org","versions":[{"groupVersion":"example.org/v1","version":"v1"}],"preferredVersion":{"groupVersion":"example.org/v1","version":"v1"}}`
			if !again.Swap(true) { // before the group was there
				group = ""
				asked <- true
				<-goOn
			}
			fmt.Fprintf(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[%s]}`, group)
		case "/apis/example.org/v1":
			fmt.Fprint(w, `{"kind":"APIResourceList","groupVersion":"example.org/v1","resources":[{"name":"widgets","namespaced":true,"kind":"Widget","verbs":["get","list","patch"]}]}`)
		default:
			http.Error(w, strings.Trim(r.URL.Path, "/"), http.StatusNotFound)
		}
	}))
	defer server.Close()
	c, err := Connect(&rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	late := make(chan error, 1)
	go func() { late <- c.kinds.refresh(t.Context()) }()
	<-asked
	if err := c.kinds.refresh(t.Context()); err != nil { // once patience with the first is lost
		t.Fatal(err)
	}
	goOn <- true
	select {
	case err = <-late:
	case <-time.After(time.Minute):
		t.Fatal("the first look does not end")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.kinds.find(t.Context(), schema.GroupKind{Group: "example.org", Kind: "Widget"}, "v1"); err != nil {
		t.Errorf("a kind that the newer look has found: %v", err)
	}
}
