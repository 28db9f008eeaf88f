# The project's commands. They need python3 (3.11 or later), a C compiler and PyPI; interpreters
# that are missing are unpacked into the user's cache, nothing is installed into the system.

PYTHON =
ARGS =
LEG =

harness := python3 tests/harness
run_tests := $(harness)/run_tests.py $(addprefix --python ,$(PYTHON))
# $(call session,PURPOSE,VERSIONS): sessions of noxfile.py, under PYTHON or those versions.
session = @$(harness)/sessions.py $(addprefix --python ,$(or $(PYTHON),$(2))) $(1) -- $(ARGS)

.PHONY: help
help: ## list these targets
	@sed -En 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

.PHONY: demo
demo: ## run the demo under the newest CPython that can be had
	$(call session,demo,newest)

.PHONY: build
build: ## build the package for every CPython; PYTHON=3.14 for one
	@$(harness)/wheels.py $(PYTHON)

.PHONY: test
test: ## test under every CPython; PYTHON=3.14 for one, ARGS="-k fork" for pytest
	@$(run_tests) -- $(ARGS)

.PHONY: matrix
matrix: ## the same with the tests' matrices whole: hours
	@$(run_tests) --matrix -- $(ARGS)

.PHONY: suites
suites: ## run the tests of greenlet and gevent with our adapters installed, under 3.11, 3.14, 3.15
	$(call session,suites,3.11 3.14 3.15)

.PHONY: cpython-tests
cpython-tests: ## run CPython 3.14's own tests of recursion on another stack
	$(call session,cpython-tests,3.14)

.PHONY: bench
bench: ## run the benchmarks under 3.14 and 3.15; PYTHON=3.14 for one
	$(call session,bench,3.14 3.15)

.PHONY: soak
soak: ## a long mix of everything, under 3.14: memory stays flat; ARGS="600 SEED", seconds and seed
	$(call session,soak,3.14)

# The folders of tests whose programs tell of stacks, or use what does.
telling := $(addprefix tests/,core isolation isolation_c adapters beacon call_on_stack conformance depth docs interpose \
  odd_uses policies pools sync_on_call unknown)

.PHONY: nets
nets: ## test what tells of stacks under 3.14 in the checking mode, and half a minute of the soak
	@STACKWARDEN=check=error $(harness)/run_tests.py --python 3.14 -- $(telling) -q
	@$(MAKE) --no-print-directory soak ARGS=30

.PHONY: compare
compare: ## compare the core's machine code with that of a commit: OLD=commit
	@$(harness)/compare.py $(OLD) $(addprefix --python ,$(PYTHON)) $(ARGS)

.PHONY: sanitize
sanitize: ## test a core that is compiled with sanitizers, under 3.14; LEG=address or LEG=thread for one
	$(call session,$(addprefix --only ,$(LEG)) sanitize,3.14)

.PHONY: lint
lint: .venv/lint/made ## check form, types and C, and that changes are told; ARGS=mypy for one check
	@PRE_COMMIT_HOME=.venv/lint/pre-commit .venv/lint/bin/pre-commit run --all-files $(ARGS)

.PHONY: format
format: .venv/lint/made ## put Python, C and C++ into the common form
	.venv/lint/bin/ruff check --fix
	.venv/lint/bin/ruff format
	git ls-files -z '*.c' '*.h' '*.cpp' '*.hpp' '*.cxx' | xargs -0 .venv/lint/bin/clang-format -i

.venv/lint/made: pyproject.toml
	uv=$$($(harness)/tools.py uv) && python=$$($(harness)/interpreters.py 3.11) \
	&& $$uv venv --quiet --clear --python $$python .venv/lint \
	&& $$uv pip install --quiet --python .venv/lint --group lint
	touch $@

.PHONY: clean
clean: ## remove what was built here; interpreters stay in the user's cache
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
