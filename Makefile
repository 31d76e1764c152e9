# `make help` lists the targets. CONTRIBUTING.md says when to use each of them, and how long it takes.

GO       ?= go
TAGS     := nomsgpack
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10m
PROBES   ?= 1000
SOAKTIME ?= 10m
RUNS     ?= 10
LOOPS    ?= 4
COUNT    ?= 6
SLICES   ?= 20

# OUT is the path of the binary. The image is for PLATFORMS, by default Linux on this machine's architecture.
OUT       = bin/gateway
IMAGE     = bin/ais-gateway-image
PLATFORMS = linux/$(shell $(GO) env GOHOSTARCH)

# Packages whose own tests must cover MINCOVER per cent of their statements.
# Every adapter has a MAPPING.md.
MINCOVER := 85
ADAPTERS := $(patsubst %/MAPPING.md,%,$(wildcard internal/providers/*/MAPPING.md))
COVERED  := internal/canonical $(ADAPTERS) internal/unattended internal/cache internal/gateway

# Tests mostly wait, so more packages run in parallel than there are processors. The timeout is long enough for slow
# machines, and only ends tests that hang.
TESTFLAGS := -tags $(TAGS) -count 1 -p 4 -parallel 8 -timeout 40m

# FLEETS are the packages whose tests need Prometheus or fleets of gateways. `make verify` runs them, `make test` all others.
FLEETS := ./test/gateway ./test/deploy ./internal/prometheustest
UNIT    = $(shell $(GO) list ./... | grep -v -e '^ais-gateway/test/gateway$$' -e '^ais-gateway/test/deploy$$' -e '^ais-gateway/internal/prometheustest$$')
# QUICK are the packages whose tests need no Redis, and the tests of the files in deploy. `make quick` runs them.
QUICK   = $(shell $(GO) list -f '{{.ImportPath}} {{.Name}} {{.TestImports}} {{.XTestImports}}' ./internal/... | \
            grep -v -e internal/redistest -e internal/prometheustest -e internal/providers/providertest | cut -d ' ' -f 1) ./deploy

# Go keeps its caches below HOME. If HOME is unset or not writable, as on some build machines, a temporary directory of
# the user replaces it.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo ok),ok)
export HOME := $(shell d="$${TMPDIR:-/tmp}/ais-gateway-$$(id -u)" && mkdir -p -m 700 "$$d" && test -O "$$d" && echo "$$d")
endif

# In a checkout that belongs to another user, Go cannot read the version, and the build must succeed without it.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

# Tools are built once for each version of the tool and of Go, and kept outside of the tree.
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
.PHONY: help run demo provider build quick test check verify summary unit race fleets sidebyside model lint drift fmt fuzz probe soak bench \
        compare measure sizing growth stress tools faults sample cover coverage vuln licences reproducible redis compiler clean image chart built \
        prometheus collector dashboards alerts program

help: ## lists the targets
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## runs the gateway with simulated providers and an embedded Redis, to try it by hand
	$(GO) run -tags $(TAGS) ./cmd/gateway sandbox

demo: ## a tour of all calls, on the same
	$(GO) run -tags $(TAGS) ./cmd/gateway sandbox --demo

provider: ## lays out the folder of a new provider: make provider NAME=x
	$(GO) run -C tools ./provider ../internal/providers '$(NAME)'

build: ## builds bin/gateway
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '-s -w -X main.version=$(VERSION)' -o $(OUT) ./cmd/gateway

# The commit and its time come from git, so that the same commit makes the same image.
image: ## builds bin/ais-gateway-image.tar, an OCI image for PLATFORMS (linux/amd64 linux/arm64), and its SBOM; needs no daemon and no registry
	@set -e; for p in $(PLATFORMS); do \
		GOOS="$${p%/*}" GOARCH="$${p#*/}" $(MAKE) --no-print-directory build VERSION='$(VERSION)' OUT="$(IMAGE).d/$$p/gateway"; \
	done
	@$(GO) -C tools/image run . -version '$(VERSION)' -revision "$$(git rev-parse HEAD 2>/dev/null)" \
		-created "$$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
		-archive '$(abspath $(IMAGE)).tar' -sbom '$(abspath $(IMAGE)).sbom.json' \
		$(foreach p,$(PLATFORMS),'$(abspath $(IMAGE)).d/$(p)/gateway')

quick: ## checks formatting and imports, vets all code and runs the tests below internal that need no Redis
	@bad="$$(gofmt -l $$(git ls-files '*.go'))"; [ -z "$$bad" ] || { echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) test -tags $(TAGS) -p 4 $(QUICK)

test: redis ## linters, the demo and unit tests; installs redis-server if it is missing
	@GO='$(GO)' MAKE='$(MAKE)' tools/steps test lint drift demo unit

verify: redis prometheus compiler ## all other checks: race detector, coverage, fleets, chart, collector, image, tools, planted faults
	@GO='$(GO)' MAKE='$(MAKE)' tools/steps verify 'built&' race fleets model tools chart probe sample

check: ## test, then verify, with one summary at the end; continuous integration runs it
	@rm -rf bin/results; status=0; for t in test verify summary; do $(MAKE) --no-print-directory $$t || status=1; done; exit $$status

# Every step of test and verify counts as a test of the package make/test or make/verify.
summary: $(GOTESTSUM) # prints the results of the last test and verify
	@$(GOTESTSUM) --format none --raw-command -- cat $(wildcard bin/results/*.json)

# Programs that tests run are built once: the gateway here, the others below $(KEEP).
PROGRAM := $(CURDIR)/bin/test/gateway
program:
	@$(GO) build -tags $(TAGS) -o $(PROGRAM) ./cmd/gateway

# gotest runs tests and keeps their results for the summary.
gotest = mkdir -p $(CURDIR)/bin/results && GATEWAY='$(PROGRAM)' $(GOTESTSUM) --format pkgname --format-hide-empty-pkg \
           --jsonfile $(CURDIR)/bin/results/$(1).json --

unit: redis program $(GOTESTSUM) ## the unit tests alone
	@$(call gotest,unit) $(TESTFLAGS) $(UNIT)

race: redis program compiler $(GOTESTSUM) ## the unit tests with the race detector, and the minimum of coverage
	@export CGO_ENABLED=1; $(call gotest,race) -race $(TESTFLAGS) -coverprofile=bin/cover.out $(UNIT)
	@$(MAKE) --no-print-directory coverage

fleets: redis prometheus program compiler $(GOTESTSUM) $(COLLECTOR) ## tests with fleets of gateways, failovers, Prometheus and a collector, with the race detector
	@export CGO_ENABLED=1; $(call gotest,fleets) -race $(TESTFLAGS) -skip '^TestSideBySide$$' $(FLEETS)

sidebyside: redis program ## gateways of this version beside those of the commit before; needs the history of git
	$(GO) test -tags $(TAGS) -count 1 -v -timeout 30m -run '^TestSideBySide$$' ./test/gateway

model: redis compiler $(GOTESTSUM) ## the model test of the limit on 2,000 random histories, with the race detector
	@export CGO_ENABLED=1; $(call gotest,model) -race $(TESTFLAGS) -run '^TestModel$$' ./internal/gateway -args -histories 2000

tools: redis $(GOTESTSUM) ## the tests of the tools and of the image
	@cd tools && $(call gotest,tools) -count 1 -timeout 40m ./...
	@cd tools/image && $(call gotest,image) -count 1 -timeout 40m ./...

lint: $(LINT) $(DEADCODE) ## linters, formatting and dead code
	$(LINT) run --allow-parallel-runners ./...
	$(LINT) run --allow-parallel-runners --build-tags $(TAGS),measure ./test/gateway ./test/compare
	cd tools && $(LINT) run --allow-parallel-runners --config ../.golangci.yml ./...
	cd tools/image && $(LINT) run --allow-parallel-runners --config ../../.golangci.yml ./...
	cd tools/chart && $(LINT) run --allow-parallel-runners --config ../../.golangci.yml ./...
	@dead="$$($(DEADCODE) -test -tags $(TAGS) ./...)" || exit 1; \
		if [ -n "$$dead" ]; then echo "code that nothing reaches:"; echo "$$dead"; exit 1; fi

drift: ## checks that the documentation and the planted faults name only what is in the code, and that the dashboards are up to date
	@$(GO) -C tools test -count 1 ./pages
	@$(GO) -C tools test -count 1 -run '^TestPatches$$' ./faults
	@$(GO) -C tools test -count 1 -run '^TestBoardsAreUpToDate$$' ./dashboards

fmt: $(LINT) ## formats the code and sorts its imports
	$(LINT) fmt ./...
	cd tools && $(LINT) fmt --config ../.golangci.yml ./...
	cd tools/image && $(LINT) fmt --config ../../.golangci.yml ./...
	cd tools/chart && $(LINT) fmt --config ../../.golangci.yml ./...

fuzz: redis ## runs every fuzz target for FUZZTIME (10m)
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n 1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | cut -c 6-); do \
			echo "$$dir $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "./$$dir" </dev/null; \
		done; \
	done

# The test binaries are not instrumented for fuzzing, because to build them so takes longer than everything else.
probe: redis compiler ## runs every fuzz target on PROBES (1000) inputs made from its seeds, with the race detector
	@mkdir -p bin
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n 1 dirname | sort -u | while read -r dir; do \
		CGO_ENABLED=1 $(GO) test -race -tags $(TAGS) -c -o bin/probe.test "./$$dir"; \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | cut -c 6-); do \
			probe=$$PWD/bin/probe; rm -rf "$$probe"; \
			(cd "$$dir" && "$$probe.test" -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(PROBES)x -test.fuzzcachedir "$$probe") \
				</dev/null >"$$probe.log" 2>&1 || { echo "$$dir $$target"; cat "$$probe.log"; exit 1; }; \
		done; \
	done

soak: redis ## the model test of the limit, then a gateway under ten times the load that it can serve, each for SOAKTIME (10m)
	$(GO) test -tags $(TAGS) -count 1 -v -timeout 0 -run '^TestModel$$' ./internal/gateway -args -soak $(SOAKTIME)
	$(GO) test -tags $(TAGS) -count 1 -v -timeout 0 -run '^TestSoak$$' ./test/gateway -args -soak $(SOAKTIME)

# The packages that have benchmarks.
BENCHES = $(shell grep -rl --include='*_test.go' '^func Benchmark' cmd internal | xargs -n 1 dirname | sort -u | sed 's|^|./|')
bench: redis ## runs all benchmarks COUNT (6) times; prints what benchstat compares
	@$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchmem -count $(COUNT) $(BENCHES)

compare: redis build ## compares the gateway with plain servers, SLICES (20) times a second for each case; ONLY=name,name runs some cases
	@cd test/compare && GATEWAY='$(or $(GATEWAY),$(abspath $(OUT)))' $(GO) test -tags $(TAGS),measure -count 1 -timeout 0 -run '^TestCompare$$' \
		-args -slices $(SLICES) -only '$(ONLY)' -out '$(CURDIR)/bin/compare.md'

measure: redis ## measures the speed of the gateway and of slots, and what crashes and failovers of Redis cost the limit; takes minutes
	@cd test/gateway && $(GO) test -tags $(TAGS),measure -count 1 -timeout 30m -run '^TestMeasure$$'

sizing: redis ## measures what each kind of request costs a gateway; takes a minute
	@cd test/gateway && $(GO) test -tags $(TAGS),measure -count 1 -timeout 30m -run '^TestSizing$$'

growth: redis ## measures what requests cost with 1,000 to 1,000,000 consents in Redis, which takes 2 GB then; takes minutes
	@cd test/gateway && $(GO) test -tags $(TAGS),measure -count 1 -timeout 30m -run '^TestGrowth$$'

faults: redis prometheus $(COLLECTOR) ## plants the faults of faults/, one at a time; the tests must catch each. ONLY=name,name plants some
	@$(GO) -C tools run ./faults -only '$(ONLY)'

sample: redis prometheus $(COLLECTOR) ## plants ten of the faults
	@$(GO) -C tools run ./faults -sample

stress: redis ## runs `make test` RUNS (10) times with LOOPS (4) busy loops beside it, and reports each run
	@MAKE='$(MAKE)' tools/stress $(RUNS) $(LOOPS)

cover: redis ## shows the coverage of the most important packages by their own tests; fails under 85 %
	@mkdir -p bin
	$(GO) test -tags $(TAGS) -coverprofile=bin/cover.out $(addprefix ./,$(COVERED))
	@$(MAKE) --no-print-directory coverage

# A line of a profile is "file:from,to statements count". Percentages are rounded down, so that a value below the minimum
# is not printed as the minimum.
PROFILE := bin/cover.out
coverage: # compares a profile with the minimum of coverage; only the tests of a package count for it
	@awk -F '[: ]' -v min='$(MINCOVER)' -v dirs='$(COVERED)' ' \
		/^mode:/ { next } \
		NF != 4 { print "not a line of a profile: " $$0; failed = 1; dirs = ""; exit } \
		{ sub("^ais-gateway/", "", $$1); sub("/[^/]*$$", "", $$1); all[$$1] += $$3; if ($$4 > 0) covered[$$1] += $$3 } \
		END { \
			n = split(dirs, dir, " "); \
			for (i = 1; i <= n; i++) { \
				d = dir[i]; \
				if (!all[d]) { print d ": not in the profile"; failed = 1; continue } \
				printf "%5.1f %%  %s\n", int(covered[d] * 1000 / all[d]) / 10, d; \
				if (covered[d] * 100 < min * all[d]) { print d ": its own tests cover less than " min " %"; failed = 1 } \
			} \
			exit failed \
		}' '$(PROFILE)'

# What govulncheck scans: a module, and what to scan there.
SCANS = '. -tags $(TAGS) ./cmd/gateway' '. -tags $(TAGS),measure -test ./...' 'tools ./... tool' 'tools/image -test ./...'

# govulncheck accepts every directory as a database, and finds nothing in an empty one. Therefore the target checks the
# index files first.
vuln: ## reports known vulnerabilities (govulncheck); needs VULNDB=directory or URL of a database
	@db='$(VULNDB)'; case "$$db" in \
	http://* | https://*) ;; \
	*) dir="$${db#file://}"; index="$$dir/index"; \
		if ! { [ -n "$$dir" ] && grep -q '"modified": *"[0-9]' "$$index/db.json" && grep -q '^ *\[' "$$index/modules.json"; }; then \
			echo "vuln: no database of vulnerabilities in '$$dir': use VULNDB=directory or URL of one in the form of Go's own:"; \
			echo "index/db.json, index/modules.json and ID/GO-*.json, behind a URL each with .gz"; exit 1; \
		fi; \
		db="file://$$(cd "$$dir" && pwd)"; cat "$$index/db.json" ;; \
	esac; \
	status=0; for scan in $(SCANS); do \
		echo; echo "$$scan:"; set -- $$scan; module="$$1"; shift; \
		$(GO) -C tools tool govulncheck -C '$(CURDIR)'"/$$module" -db "$$db" "$$@" || status=1; \
	done; exit $$status

licences: ## writes bin/licences.md, the licences of all dependencies; fails if a licence is not allowed
	@mkdir -p bin
	@$(GO) -C tools run ./licences -page '$(CURDIR)/bin/licences.md'

dashboards: ## updates the Grafana dashboards in deploy/grafana from tools/dashboards
	@$(GO) -C tools run ./dashboards

alerts: prometheus ## checks the alert rules, and tests when they fire (promtool)
	promtool check rules --lint-fatal deploy/helm/ais-gateway/files/rules.yaml
	promtool test rules deploy/prometheus/rules_test.yaml deploy/prometheus/days_test.yaml deploy/prometheus/weeks_test.yaml

# The two builds have different directories, caches, time zones and locales.
reproducible: ## builds twice in different places and compares the results; takes minutes
	$(GO) mod verify
	$(GO) -C tools mod verify
	@set -e; dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; one="$$dir/a" other="$$dir/elsewhere/and deeper"; \
		for copy in "$$one" "$$other"; do mkdir -p "$$copy"; tar -cf - --exclude ./.git --exclude ./bin . | tar -xf - -C "$$copy"; done; \
		export MAKEFLAGS= MAKELEVEL=; \
		TZ=UTC LC_ALL=C $(MAKE) -C "$$one" build VERSION='$(VERSION)'; \
		$(if $(SHARECACHE),,mkdir "$$dir/cache"; export GOCACHE="$$dir/cache";) \
		TZ=Asia/Kathmandu LC_ALL=C.UTF-8 TMPDIR="$$dir" $(MAKE) -C "$$other" build VERSION='$(VERSION)'; \
		cmp "$$one/bin/gateway" "$$other/bin/gateway"; echo "both builds of $(VERSION) are the same"

chart: redis program $(HELM) $(KUBESCORE) $(GOTESTSUM) ## the tests of the Helm chart, with Helm, kube-score and the types of Kubernetes
	@tools/need curl
	@cd tools/chart && export HELM='$(HELM)' KUBESCORE='$(KUBESCORE)' && $(call gotest,chart) -count 1 -timeout 40m ./...

built: $(HELM) $(KUBESCORE) $(COLLECTOR) # third-party programs that verify needs

redis: ## installs redis-server, for the tests, if it is missing
	@tools/need redis

prometheus: ## installs Prometheus with promtool and Alertmanager, for `make verify`, if they are missing
	@tools/need prometheus alertmanager

collector: ## updates tools/collector, the OpenTelemetry collector of the tests, after a change of its builder.yaml
	cd tools/collector && $(GO) run go.opentelemetry.io/collector/cmd/builder@v$(OTELCOL) --config builder.yaml --skip-compilation
	gofmt -w tools/collector/*.go

compiler: # the race detector needs cgo, which needs a C compiler
	@tools/need cc

clean: ## removes bin
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
	@$(GO) -C $(or $(IN),tools) build -o $@.$$$$ $(TOOL) && mv $@.$$$$ $@

$(COLLECTOR):
	@mkdir -p $(@D)
	@echo "building $(@F), once"
	@CGO_ENABLED=0 $(GO) -C tools/collector build -trimpath -o $@.$$$$ . && mv $@.$$$$ $@
