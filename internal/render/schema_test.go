package render

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestGuardGivesUpWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	g := newSchemaGuard(2)
	g.warm = true // the process's schema is the other guard's
	busy, leave := make(chan struct{}), make(chan struct{})
	finished := make(chan error)
	go func() {
		finished <- g.share(t.Context(), func() error { close(busy); <-leave; return nil })
	}()
	<-busy
	if err := g.share(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("a second build beside the first: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStore)
	called := false
	if err := g.alone(ctx, nil, func() error { called = true; return nil }); !errors.Is(err, errStore) || called {
		t.Errorf("alone beside another: error %v, called %v; want the context's cause", err, called)
	}
	close(leave)
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

func TestEndlessSchemas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, schema string
		endless      bool
	}{
		{"none", `{}`, false},
		{"not a schema", `[`, false},
		{"YAML", "definitions:\n  a: {$ref: '#/definitions/a'}\n", true},
		{"through a property", `{"definitions":{"a":{"properties":{"x":{"$ref":"#/definitions/b"}}},"b":{"$ref":"#/definitions/a/properties/x"}}}`, true},
		{"deep inside", `{"definitions":{"a":{"items":{"additionalProperties":{"properties":{"x":{"$ref":"#/definitions/b"}}}}},"b":{"$ref":"#/definitions/b"}}}`, true},
		{"of what kustomize cannot resolve", `{"definitions":{"a":{"items":{"$ref":"#/definitions/a/items"}}}}`, false},
		{"recursive type", `{"definitions":{"a":{"properties":{"child":{"$ref":"#/definitions/a"}}}}}`, false},
		{"into nothing", `{"definitions":{"a":{"$ref":"#/definitions/none"}}}`, false},
	} {
		if err := endlessSchema([]byte(test.schema), nil); (err != nil) != test.endless {
			t.Errorf("%s: %v, want endless %v", test.name, err, test.endless)
		}
	}
}

func TestEndlessCRDs(t *testing.T) {
	t.Parallel()
	const object = `"properties":{"kind":{},"apiVersion":{},"metadata":{},`
	for _, test := range []struct {
		name, crds string
		endless    bool
	}{
		{"empty", ``, false},
		{"not JSON", `{`, false},
		{"parts", `{"a":{"Schema":{` + object + `"x":{"$ref":"b"}}}},"b":{"Schema":{"properties":{"y":{}}}}}`, false},
		{"each other", `{"a":{"schema":{` + object + `"x":{"$ref":"b"}}}},"b":{"schema":{"properties":{"y":{"$ref":"a"}}}}}`, true},
		{"YAML", "a:\n  schema: {properties: {kind: {}, apiVersion: {}, metadata: {}, x: {$ref: a}}}\n", true},
		{"no object reaches it", `{"b":{"Schema":{"properties":{"y":{"$ref":"b"}}}}}`, false},
		{"doubling", doublingCRDs(30), true},
	} {
		if err := endlessCRDs([]byte(test.crds)); (err != nil) != test.endless {
			t.Errorf("%s: %v, want endless %v", test.name, err, test.endless)
		}
	}
}

func doublingCRDs(depth int) string {
	crds := "t0:\n  schema: {properties: {kind: {}, apiVersion: {}, metadata: {}, x: {$ref: t1}}}\n"
	for i := 1; i <= depth; i++ {
		crds += fmt.Sprintf("t%d:\n  schema: {properties: {l: {$ref: t%d}, r: {$ref: t%d}}}\n", i, i+1, i+1)
	}
	return crds
}
