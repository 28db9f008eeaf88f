# The project's commands. They need python3 (3.11 or later), a C compiler and PyPI; interpreters
# that are missing are unpacked into the user's cache, nothing is installed into the system.

PYTHON =
ARGS =

harness := python3 tests/harness
run_tests := $(harness)/run_tests.py $(addprefix --python ,$(PYTHON))

.PHONY: help
help: ## list these targets
	@sed -En 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

.PHONY: demo
demo: ## run the demo under the newest CPython that can be had
	@python=$$($(harness)/environments.py demo newest) && $$python --version && $$python -m stackwarden demo

.PHONY: test
test: ## test under every CPython; PYTHON=3.14 for one, ARGS="-k fork" for pytest
	@$(run_tests) -- $(ARGS)

.PHONY: matrix
matrix: ## the same with the tests' matrices whole: hours
	@$(run_tests) --matrix -- $(ARGS)

.PHONY: suites
suites: ## run the tests of greenlet and gevent with our adapters installed, under 3.11, 3.14, 3.15
	@python3 tests/suites/run.py $(addprefix --python ,$(PYTHON)) $(ARGS)

.PHONY: cpython-tests
cpython-tests: ## run CPython 3.14's own tests of recursion on another stack
	@python3 tests/suites/cpython.py $(ARGS)

.PHONY: bench
bench: ## run the benchmarks under 3.14 and 3.15; PYTHON=3.14 for one
	@status=0; for version in $(or $(PYTHON),3.14 3.15); do \
	python=$$($(harness)/environments.py bench $$version) && $$python tests/bench/run.py $(ARGS) || status=1; \
	done; exit $$status

.PHONY: compare
compare: ## compare the core's machine code with that of a commit: OLD=commit
	@$(harness)/compare.py $(OLD) $(addprefix --python ,$(PYTHON)) $(ARGS)

.PHONY: sanitize
sanitize: ## test a core that is compiled with sanitizers, under 3.14
	@python3 tests/sanitizers/run.py $(addprefix --python ,$(PYTHON)) -- $(ARGS)

.PHONY: lint
lint: .venv/lint/made ## check style and types
	.venv/lint/bin/ruff check
	.venv/lint/bin/ruff format --check
	.venv/lint/bin/mypy
	PATH=.venv/lint/bin:$$PATH cython-lint cython_src src tests adapters

.PHONY: format
format: .venv/lint/made ## put Python code into the common form
	.venv/lint/bin/ruff check --fix
	.venv/lint/bin/ruff format

.venv/lint/made: pyproject.toml
	uv=$$($(harness)/tools.py uv) && $$uv venv --quiet --clear .venv/lint \
	&& $$uv pip install --quiet --python .venv/lint --group lint
	touch $@

.PHONY: clean
clean: ## remove what was built here; interpreters stay in the user's cache
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
