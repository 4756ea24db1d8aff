# Chaperone. `make` lists the targets.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
# Given to `chaperone demo`: make demo ARGS='--exit -o json'
ARGS ?=
# The version that the binary tells, the image's tag too.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
IMAGE ?= chaperone:$(VERSION)
# Longest time for the tests of one package.
TIMEOUT ?= 20m
# Packages to benchmark; by default those that have a benchmark.
BENCH ?= $(addprefix ./,$(sort $(dir $(shell grep -rl --include='*_test.go' '^func Benchmark' internal))))
BENCHTIME ?= 1s
# Longest time for the benchmarks of one package: those of the whole daemon take half an hour.
BENCH_TIMEOUT ?= 90m
# Simulated worlds: the first seed, and how many.
SEED ?= 1
N ?= 2000
# Random histories that `make soak` takes commits back in; the first has SEED.
HISTORIES ?= 50000

# Race detection needs cgo and a C compiler. RACE=on insists, RACE=off does without.
RACE ?= auto
ifeq ($(RACE),auto)
  RACE_FLAG := $(shell test "$$($(GO) env CGO_ENABLED)" = 1 && command -v "$$($(GO) env CC)" >/dev/null && echo -race)
else ifeq ($(RACE),on)
  RACE_FLAG := -race
endif

BINARY := bin/chaperone
NESTED := cmd/localcluster cmd/localforge cmd/localprometheus
# Gitea on SQLite; the tests build it with the same tags.
FORGE_TAGS := sqlite sqlite_unlock_notify
# Where the tests look for the programs that they run; they build them themselves when they are not there, only more quietly.
BUILT = $(shell $(GO) env GOCACHE)/chaperone
# Without the commit in it the binary stays the same from commit to commit, and is not linked again.
NESTED_GO := GOWORK=off GOFLAGS=-buildvcs=false $(GO)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(BINARY) cluster ## two systems from development to production, on this machine (ARGS='--exit -o json')
	@$(BINARY) demo $(ARGS)

# Tests that take ten times as long with the race detector, and have nothing to
# find with it, do less there. They ask whether it is on, and are found by that.
ASKING := grep -rl --include='*_test.go' 'racing\.[FW]' internal
LONG_TESTS = $(shell $(ASKING) | xargs awk '/^func Test/ {test = $$2; sub(/[^A-Za-z0-9_].*/, "", test)} /racing\.[FW]/ {print test}' | sort -u | paste -sd '|' -)
LONG_PACKAGES = $(addprefix ./,$(sort $(dir $(shell $(ASKING)))))

# The end-to-end tests have deadlines of seconds, as real environments do, so
# nothing else runs beside them.
.PHONY: test
test: cluster forge prometheus race-notice ## every test, on a real API server, real Git servers, a real forge and a real Prometheus
	$(GO) test $(RACE_FLAG) -timeout $(TIMEOUT) $$($(GO) list ./... | grep -v /internal/e2e)
	$(GO) test $(RACE_FLAG) -timeout $(TIMEOUT) ./internal/e2e
	GOGC=400 $(GO) test -timeout $(TIMEOUT) -run '^($(LONG_TESTS))$$' $(LONG_PACKAGES)
	$(GO) test -tags mutation -timeout $(TIMEOUT) -run Mutation ./internal/reconcile
	cd cmd/localcluster && $(NESTED_GO) test -timeout $(TIMEOUT) ./...

.PHONY: check
check: lint race-notice ## before a commit: format, vet, the rules of the house, and the quick tests
	$(GO) test $(RACE_FLAG) -short -timeout $(TIMEOUT) ./...

# Vetting with the same flags as testing uses what that compiled. The nested
# modules are Kubernetes, Gitea and Prometheus: racing those would take longer than all the
# rest. The tags mean nothing to Kubernetes.
.PHONY: lint
lint: ## the rules of the house, vet, tidy modules, and generated files that are up to date
	$(GO) test -count=1 ./internal/lint
	$(GO) vet $(RACE_FLAG) ./...
	for module in $(NESTED); do (cd $$module && $(NESTED_GO) vet -tags '$(FORGE_TAGS)' ./...) || exit 1; done
	$(GO) mod tidy -diff
	for module in $(NESTED); do (cd $$module && $(NESTED_GO) mod tidy -diff) || exit 1; done
	@before=$$({ git status --porcelain; git diff; } | cksum); \
	$(MAKE) generate; \
	after=$$({ git status --porcelain; git diff; } | cksum); \
	if [ "$$before" != "$$after" ]; then \
		git --no-pager diff --stat >&2; \
		echo "lint: generated files were out of date; they are written now, commit them" >&2; exit 1; \
	fi

.PHONY: bench
bench: cluster forge prometheus ## every benchmark, each beside what it is measured against
	@test -n "$(BENCH)" || { echo "bench: no package has a benchmark" >&2; exit 1; }
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout $(BENCH_TIMEOUT) $(BENCH)

# Garbage is collected seldom: worlds are small, and gone soon.
.PHONY: sim
sim: ## worlds by chance with mishaps at every call; what fails is made small and replays (SEED=1 N=2000)
	@SEED=$(SEED) N=$(N) GOGC=400 $(GO) test -count=1 -timeout 24h -run '^TestSimulate$$' -v ./internal/sim

.PHONY: soak
soak: ## reverts in random histories, beside git's; what differs replays by its own seed (SEED=1 HISTORIES=50000)
	@SEED=$(SEED) HISTORIES=$(HISTORIES) $(GO) test -count=1 -timeout 24h -run '^TestSoak$$' -v ./internal/source/merge

# Without race detection: kustomize's own build, the reference, takes ten times as long with it.
.PHONY: bench-smoke
bench-smoke: ## every benchmark once, to see that it runs
	@$(MAKE) bench BENCHTIME=1x

.PHONY: build
build: $(BINARY) ## the binary, bin/chaperone

# Go knows better than make what is up to date.
.PHONY: $(BINARY)
$(BINARY):
	@CGO_ENABLED=0 $(GO) build -trimpath -tags timetzdata -ldflags '-s -w -X chaperone.dev/chaperone/internal/cli.version=$(VERSION)' -o $@ ./cmd/chaperone

.PHONY: image
image: ## the container image, with docker, podman or buildah
	@for engine in docker podman buildah; do \
		command -v $$engine >/dev/null || continue; \
		if $$engine info >/dev/null 2>&1; then \
			exec $$engine build --build-arg VERSION=$(VERSION) --tag $(IMAGE) --file Dockerfile .; \
		fi; \
		echo "image: $$engine is installed, but does not answer \`$$engine info\`" >&2; \
	done; \
	echo "image: no container engine; want docker, podman or buildah, running" >&2; exit 1

.PHONY: generate
generate: ## what is written by programs: deep copies and custom resource definitions
	$(GO) generate ./...

.PHONY: fmt
fmt: ## format every Go file
	@gofmt -l -w cmd internal

# The first build compiles Kubernetes and etcd, Gitea, or Prometheus. A line for each hundred
# packages shows that it moves; what the compiler has to say is shown as it is.
.PHONY: cluster forge prometheus
cluster: WHAT := the local cluster
cluster: ; $(call build-nested,localcluster)
forge: WHAT := the local forge
forge: ; $(call build-nested,localforge,$(FORGE_TAGS))
prometheus: WHAT := the local Prometheus
prometheus: ; $(call build-nested,localprometheus)

define build-nested
@mkdir -p "$(BUILT)"
@cd cmd/$(1) && { $(NESTED_GO) build -v -tags '$(2)' -o "$(BUILT)/$(1)" . 2>&1 || echo '!failed'; } | awk -v what="$(WHAT)" ' \
	/^!failed$$/ {failed = 1; next} \
	/^[a-z0-9.]+(\/[^ ]*)?$$/ {if (!n++) print "building " what ": minutes the first time, seconds later"; \
		if (n % 100 == 0) print "  " n " packages compiled"; fflush(); next} \
	/^go: downloading/ {if (!d++) {print "downloading modules"; fflush()}; next} \
	{print; fflush()} \
	END {if (failed) exit 1; if (n) print "built " what}' >&2
endef

.PHONY: race-notice
race-notice:
	@test -n "$(RACE_FLAG)" || echo "no race detection: it needs a C compiler (or RACE is off)" >&2
