# Each recipe is a line or two that also works when typed by hand.

TARGET := $(shell rustc --print host-tuple 2>/dev/null || rustc -vV | sed -n 's/^host: //p')
INFRA  := target/$(TARGET)/debug/infra

.PHONY: demo test check ci setup build moto unit e2e bench clean-demo

## demo: set up what is missing, build, apply the dev environment, and say what to open
demo: setup build
	$(INFRA) apply dev --yes
	@echo
	@echo "infra is $(CURDIR)/$(INFRA)"

## test: set up what is missing and run every test
test: setup build moto
	cargo test --locked

## check: format and lints
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

## ci: exactly what CI runs
ci: check test

## unit: the tests that need no Docker Engine
unit: moto
	cargo test --locked --lib
	cargo test --locked --test tests -- --skip e2e

## e2e: the tests on real machines
e2e: setup build
	cargo test --locked --test tests e2e

setup:
	./setup.sh

moto:
	tests/moto.sh

build:
	cargo build --locked --bin infra --example bingo
	cp --remove-destination target/$(TARGET)/debug/examples/bingo target/bingo

## bench: the figures of the README
bench: setup build
	benches/apply.sh
	cargo test --locked --release --test tests figures -- --ignored --nocapture

## clean-demo: remove the demo again
clean-demo:
	$(INFRA) destroy dev --yes
