# The commands are plain; this file remembers them.
.PHONY: help dev build test check release screenshots secrets up down
.DEFAULT_GOAL := help

# Without Gin's MessagePack, which nothing here uses: a sixth less to compile, six megabytes less to ship.
TAGS := nomsgpack

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

dev: ## Run everything on SQLite, with a demo user; Ctrl-C stops it.
	go run -tags $(TAGS) ./cmd/curfew dev

build: ## Build the static binary ./curfew.
	CGO_ENABLED=0 go build -tags $(TAGS) -trimpath -ldflags "-s -w -X main.version=$$(git describe --tags --always --dirty)" -o curfew ./cmd/curfew

test: ## Install what the tests need, and run all of them.
	./test

check: ## Everything that must hold before a change lands.
	.ci/run

release: ## Build the archives and packages of a release into dist/, with their checksums.
	deploy/release.sh

# A picture is PAGE-SCHEME-WIDTH; together they stay below a megabyte. docs/pages.md shows or links each.
PAGES := sign-in continue sign-out signed-out end-everywhere error account-receipt security console-sign-in console-step-up \
	console-overview console-devices-filter console-device console-end console-everyone console-users console-user \
	console-user-new console-clients console-client console-client-new console-followers console-revocations console-revocation
PICTURES := $(PAGES:%=%-light-1280) sign-in-wrong-dark-360 account-receipt-dark-360 console-overview-dark-360 console-events-dark-1280

screenshots: ## Make the pictures of docs/screenshots anew.
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && \
	pages=$$(echo $(PICTURES) | tr ' ' '\n' | sed 's/-[a-z]*-[0-9]*$$//' | sort -u | paste -sd'|') && \
	go test -tags $(TAGS) ./internal/pages -run "EveryPage/^($$pages)$$" -timeout 30m -count=1 -args -screenshots "$$folder" && \
	mkdir -p docs/screenshots && rm -f docs/screenshots/* && \
	for name in $(PICTURES); do cp "$$folder/$$name.webp" docs/screenshots/; done

secrets: ## Make the secrets of docker-compose.yml; those that are there stay.
	@install -d -m 700 secrets
	@# Readable for the containers' users: the folder is what keeps others out.
	@for name in database_password curfew_secret demo_client_secret; do \
		test -s secrets/$$name || { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > secrets/$$name && chmod 444 secrets/$$name; }; \
	done
	@ls -l secrets

up: secrets ## Start PostgreSQL and two nodes with docker compose.
	docker compose up -d --build --wait

down: ## Stop them; the database stays.
	docker compose down
