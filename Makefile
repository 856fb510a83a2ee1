# Everything that people and machines run on this repository. `make test` sets
# up what it needs by itself; Go, make and a C compiler (for the race detector)
# are all that must be there.

GO   ?= go
TOOL := $(GO) tool -modfile=tools/go.mod

# Packages without I/O or clocks, which one more run with one processor covers quickly.
PURE := ./internal/base/... ./internal/format/... ./internal/verify/... \
	./internal/client/list/... ./internal/client/tree/... ./internal/client/merge/... ./internal/client/enroll/...

# How many cases `make soak` plays of each property of devices that converge, in
# virtual time and over real connections, and from which seed on; 0 for any.
RUNS ?= 10000
REAL ?= 200
SEED ?= 0

# How many operations each exerciser does in `make test-long`.
OPERATIONS ?= 100000

# How long `make fuzz` spends on each target.
FUZZTIME ?= 30s

# Lint and tests build everything once, with the race detector, and not a second
# time without (staticcheck itself is built without). A program that the detector
# watches is not to wait a second at its end. SQLite's own code is not watched: it
# is C, translated, locks for itself, and took two fifths of the time. What calls it is.
RACE := GOFLAGS="-race '-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0'" GORACE=atexit_sleep_ms=0

.PHONY: build soak demo docs test lint cross test-race test-single test-real test-long bench bench-drive bench-server fuzz generate generate-check clean

build: ## both programs, into bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

demo: build ## a server, an organization, two people and a shared workspace, narrated
	bin/parsec demo --source "$$($(GO) env GOROOT)/src"

test: lint cross test-race test-single test-real ## everything that must hold before a change goes in

lint:
	@echo "== format, vet, staticcheck, go.mod"
	@bad=$$($(TOOL) gofumpt -l cmd internal) || exit 1; test -z "$$bad" || { echo "not formatted by gofumpt:"; echo "$$bad"; exit 1; }
	$(RACE) $(GO) vet ./...
	$(RACE) $$($(TOOL) -n staticcheck) ./...
	$(GO) mod tidy -diff

cross:
	@echo "== types on other systems"
	cd tools && $(GO) run ./crosscheck .. darwin/arm64 windows/amd64

test-race:
	@echo "== tests, with the race detector"
	$(RACE) tools/services/run $(GO) test ./...

test-single:
	@echo "== pure packages, with one processor"
	GOMAXPROCS=1 $(GO) test $(PURE)

test-real:
	@echo "== inputs as people have them: the Go source tree, 3 GiB, 10,000 files in a folder"
	$(GO) test -tags real -run '^TestReal' ./internal/client/files

test-long: ## what takes too long for `make test`: OPERATIONS of each exerciser of the mount, two of each at once, and as much of fio; the Go source tree and 2 GiB on two devices
	$(GO) test -tags real -timeout 0 -v -run '^(TestADrive(IsAsTheModel|KeepsWhatFioWrites)|TestReal(Tree|File).*)$$' ./internal/client/mount -operations $(OPERATIONS)

soak: ## the properties of devices that converge, RUNS cases of each in virtual time, from SEED on, and REAL over real connections
	GOGC=400 $(GO) test -timeout 0 -v ./internal/client/convergence -cases $(RUNS) -real $(REAL) -seed $(SEED)

bench: build ## the figures of docs/performance.md, on this machine
	$(GO) run ./internal/bench -bin bin

bench-drive: build ## the figures of the mounted folder, beside gocryptfs and the bare disk
	tools/services/programs.sh install gocryptfs fio git fusermount3
	$(GO) run ./internal/bench -bin bin -only drive

bench-server: build ## the same for a server over PostgreSQL, S3 and Swift, which it starts
	$(GO) run ./internal/bench/server -bin bin

docs: build ## the reference in docs/cli, which the programs write
	bin/parsec man --markdown docs/cli
	bin/parsec-server man --markdown docs/cli

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for p in $$($(GO) list ./internal/...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
		done; \
	done

generate: ## the API's code from proto/; builds buf, which takes minutes once
	mkdir -p bin/tools
	$(GO) build -modfile=tools/go.mod -o bin/tools/ github.com/bufbuild/buf/cmd/buf \
		google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/v2/cmd/protoc-gen-connect-go
	cd proto && PATH="$(CURDIR)/bin/tools:$$PATH" buf lint && PATH="$(CURDIR)/bin/tools:$$PATH" buf generate
	$(TOOL) gofumpt -w $$(find internal/api -name '*.go')

generate-check: generate ## fails if the generated code is not that of proto/
	git diff --exit-code -- internal/api

clean:
	rm -rf bin
