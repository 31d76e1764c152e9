# The front door. `make help` lists what is behind it.

GO       ?= go
TAGS     := nomsgpack
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10m
PROBES   ?= 1000
SOAKTIME ?= 10m

# Where the binary goes. The image is for PLATFORMS, by default Linux on this machine's processor.
OUT       = bin/gateway
IMAGE     = bin/ais-gateway-image
PLATFORMS = linux/$(shell $(GO) env GOHOSTARCH)

# Packages whose own tests must cover MINCOVER per cent of their statements.
MINCOVER := 85
COVERED  := internal/canonical internal/providers/mastercard internal/providers/mypos internal/unattended \
            internal/cache internal/gateway

# Go keeps its caches below HOME. Where that is unset or cannot be written, as on some build machines, a
# directory of one's own among the temporary ones stands in.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo ok),ok)
export HOME := $(shell d="$${TMPDIR:-/tmp}/ais-gateway-$$(id -u)" && mkdir -p -m 700 "$$d" && test -O "$$d" && echo "$$d")
endif

# A checkout that belongs to another user has no version to stamp, and must build all the same.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

# Tools are built once for each version of theirs and of Go's, and kept outside of the tree.
GOVERSION := $(shell $(GO) env GOVERSION)
KEEP      := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ais-gateway/tools
version   = $(shell sed -n 's|^[[:space:]]*$(1) \(v[^ ]*\).*|\1|p' $(or $(2),tools)/go.mod)
LINT      := $(KEEP)/golangci-lint-$(call version,github.com/golangci/golangci-lint/v2)-$(GOVERSION)
GOTESTSUM := $(KEEP)/gotestsum-$(call version,gotest.tools/gotestsum)-$(GOVERSION)
DEADCODE  := $(KEEP)/deadcode-$(call version,golang.org/x/tools)-$(GOVERSION)
HELM      := $(KEEP)/helm-$(call version,helm.sh/helm/v4,tools/helm)-$(GOVERSION)
KUBESCORE := $(KEEP)/kube-score-$(call version,github.com/zegl/kube-score,tools/kubescore)-$(GOVERSION)
OTELCOL   := $(shell sed -n 's|^  version: ||p' tools/collector/builder.yaml)
COLLECTOR := $(KEEP)/collector-$(OTELCOL)-$(shell cat tools/collector/*.yaml tools/collector/go.* | cksum | tr ' ' -)-$(GOVERSION)
export COLLECTOR

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run demo build test check unit lint fmt arch fuzz probe soak bench measure sizing faults cover vuln \
        licences reproducible redis compiler clean image chart prometheus collector dashboards alerts

help: ## this list
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the gateway with simulators of both providers and a Redis of its own, to try it by hand
	$(GO) run -tags $(TAGS) ./cmd/gateway sandbox

demo: ## the same, walked through by itself: what every call answers
	$(GO) run -tags $(TAGS) ./cmd/gateway sandbox --demo

build: ## bin/gateway
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '-s -w -X main.version=$(VERSION)' -o $(OUT) ./cmd/gateway

# The commit and its time come from git, so that the same commit makes the same image.
image: ## bin/ais-gateway-image.tar, an OCI image for PLATFORMS (linux/amd64 linux/arm64), and its SBOM; no daemon, no registry
	@set -e; for p in $(PLATFORMS); do \
		GOOS="$${p%/*}" GOARCH="$${p#*/}" $(MAKE) --no-print-directory build VERSION='$(VERSION)' OUT="$(IMAGE).d/$$p/gateway"; \
	done
	@$(GO) -C tools/image run . -version '$(VERSION)' -revision "$$(git rev-parse HEAD 2>/dev/null)" \
		-created "$$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
		-archive '$(abspath $(IMAGE)).tar' -sbom '$(abspath $(IMAGE)).sbom.json' \
		$(foreach p,$(PLATFORMS),'$(abspath $(IMAGE)).d/$(p)/gateway')

test: redis prometheus compiler lint demo unit probe ## everything: linters, demo, all tests with the race detector; installs redis-server and prometheus if need be

check: test ## what continuous integration runs: the same

# The tools' tests read files outside of their module; that those changed Go does not see, so no result is kept.
unit: redis prometheus compiler chart $(GOTESTSUM) $(COLLECTOR) ## all tests with the race detector, and the floor of coverage, without the rest
	@mkdir -p bin
	$(GO) -C tools test -count 1 ./...
	$(GO) -C tools/image test -count 1 ./...
	@CGO_ENABLED=1 $(GOTESTSUM) --format pkgname --format-hide-empty-pkg -- \
		-race -tags $(TAGS) -timeout 10m -coverprofile=bin/cover.out ./...
	@$(GO) -C tools run ./cover -quiet -min $(MINCOVER) ../bin/cover.out $(COVERED)

lint: $(LINT) $(DEADCODE) arch ## linters, formatting, dead code, and that every import rule bites
	$(LINT) run ./...
	$(LINT) run --build-tags $(TAGS),measure ./test/gateway
	cd tools && $(LINT) run --config ../.golangci.yml ./...
	cd tools/image && $(LINT) run --config ../../.golangci.yml ./...
	cd tools/chart && $(LINT) run --config ../../.golangci.yml ./...
	@dead="$$($(DEADCODE) -test -tags $(TAGS) ./...)" || exit 1; \
		if [ -n "$$dead" ]; then echo "code that nothing reaches:"; echo "$$dead"; exit 1; fi

fmt: $(LINT) ## formats the code and orders its imports
	$(LINT) fmt ./...
	cd tools && $(LINT) fmt --config ../.golangci.yml ./...
	cd tools/image && $(LINT) fmt --config ../../.golangci.yml ./...
	cd tools/chart && $(LINT) fmt --config ../../.golangci.yml ./...

arch: $(LINT) ## plants each forbidden import and sees that its rule reports it
	$(GO) -C tools run ./arch -lint $(LINT)

fuzz: redis ## every fuzz target for FUZZTIME (10m)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n 1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | cut -c 6-); do \
			echo "$$dir $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "./$$dir" </dev/null; \
		done; \
	done

# The binaries are those that the tests are made of: to build instrumented ones takes longer than everything else.
probe: redis compiler ## every fuzz target on PROBES (1000) inputs made from its seeds, with the race detector
	@mkdir -p bin
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n 1 dirname | sort -u | while read -r dir; do \
		CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) -c -o bin/probe.test "./$$dir"; \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | cut -c 6-); do \
			probe=$$PWD/bin/probe; rm -rf "$$probe"; \
			(cd "$$dir" && "$$probe.test" -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(PROBES)x -test.fuzzcachedir "$$probe") \
				</dev/null >"$$probe.log" 2>&1 || { echo "$$dir $$target"; cat "$$probe.log"; exit 1; }; \
		done; \
	done

soak: redis ## the model test of the limit, then ten times what a gateway can serve, each for SOAKTIME (10m)
	$(GO) test -tags $(TAGS) -count 1 -v -timeout 0 -run '^TestModel$$' ./internal/gateway -args -soak $(SOAKTIME)
	$(GO) test -tags $(TAGS) -count 1 -v -timeout 0 -run '^TestSoak$$' ./test/gateway -args -soak $(SOAKTIME)

bench: redis ## all benchmarks
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem ./...

measure: redis ## what slots cost, and what crashes and failovers of Redis cost the limit, as a table: minutes
	@cd test/gateway && $(GO) test -tags $(TAGS),measure -count 1 -timeout 30m -run '^TestMeasure$$'

sizing: redis ## what each kind of request costs a gateway, as a table: a minute
	@cd test/gateway && $(GO) test -tags $(TAGS),measure -count 1 -timeout 30m -run '^TestSizing$$'

faults: redis prometheus $(COLLECTOR) ## plants faults in the code one at a time: the tests must catch each. ONLY=name,name for some
	@$(GO) -C tools run ./faults -only '$(ONLY)'

cover: redis ## how much of the packages that matter most their own tests cover; fails under 85 %
	@mkdir -p bin
	$(GO) test -tags $(TAGS) -coverprofile=bin/cover.out $(addprefix ./,$(COVERED))
	@$(GO) -C tools run ./cover -min $(MINCOVER) ../bin/cover.out $(COVERED)

vuln: ## known vulnerabilities in what is built here (govulncheck); needs VULNDB=directory or URL of a database
	@$(GO) -C tools run ./vuln -root '$(CURDIR)' -db '$(VULNDB)'

licences: ## writes docs/licences.md anew, and fails where a licence is not allowed; after go.mod has changed
	@$(GO) -C tools run ./licences

dashboards: ## writes Grafana's boards (deploy/grafana) anew, from tools/dashboards
	@$(GO) -C tools run ./dashboards

alerts: prometheus ## checks the alerts' rules, and tests when they fire and when they do not (promtool)
	promtool check rules --lint-fatal deploy/helm/ais-gateway/files/rules.yaml
	promtool test rules deploy/prometheus/rules_test.yaml deploy/prometheus/days_test.yaml deploy/prometheus/weeks_test.yaml

reproducible: ## builds twice, in different places, and compares; checks modules against go.sum first: minutes
	$(GO) mod verify
	$(GO) -C tools mod verify
	@$(GO) -C tools run ./reproducible -version '$(VERSION)'

chart: redis $(HELM) $(KUBESCORE) ## the Helm chart: linted, rendered, scored, and held against Kubernetes's types and the gateway
	@tools/need curl
	HELM='$(HELM)' KUBESCORE='$(KUBESCORE)' $(GO) -C tools/chart test -count 1 ./...

redis: ## installs redis-server, which tests need, unless it is there
	@tools/need redis

prometheus: ## installs prometheus with promtool, which tests need, unless it is there
	@tools/need prometheus

collector: ## writes tools/collector anew, the OpenTelemetry collector of the tests; after its builder.yaml has changed
	cd tools/collector && $(GO) run go.opentelemetry.io/collector/cmd/builder@v$(OTELCOL) --config builder.yaml --skip-compilation
	gofmt -w tools/collector/*.go

compiler: # the race detector needs cgo, and that a C compiler
	@tools/need cc

clean: ## removes what was built in the tree
	rm -rf bin

$(LINT): TOOL = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOTESTSUM): TOOL = gotest.tools/gotestsum
$(DEADCODE): TOOL = golang.org/x/tools/cmd/deadcode
$(HELM): TOOL = helm.sh/helm/v4/cmd/helm
$(HELM): IN = tools/helm
$(KUBESCORE): TOOL = github.com/zegl/kube-score/cmd/kube-score
$(KUBESCORE): IN = tools/kubescore
$(LINT) $(GOTESTSUM) $(DEADCODE) $(HELM) $(KUBESCORE):
	@mkdir -p $(@D)
	@echo "building $(@F), once"
	@$(GO) -C $(or $(IN),tools) build -o $@.new $(TOOL) && mv $@.new $@

$(COLLECTOR):
	@mkdir -p $(@D)
	@echo "building $(@F), once"
	@CGO_ENABLED=0 $(GO) -C tools/collector build -trimpath -o $@.new . && mv $@.new $@
