# make demo    a letter between two domains on this machine, with everything around it
# make test    everything the tests need, and the tests
# make check   ruff, mypy --strict, the architecture test
# make fuzz    parsers under octets that look for new code: ARGS="imap --runs 1000000 --corpus DIR"
# make bench   Posthouse beside Postfix and Dovecot
# make docs    the pages that are made from the program
# make lock    requirements/*.txt from pyproject.toml

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin

# Debian packages of the programs that tests and benchmarks drive.
TEST_PACKAGES  := curl dovecot-imapd dovecot-pop3d fetchmail getmail6 gsasl haproxy isync libnet-ssleay-perl \
	libsasl2-modules msmtp mutt offlineimap3 swaks thunderbird
BENCH_PACKAGES := dovecot-imapd dovecot-lmtpd postfix

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(BIN)/python -m piptools compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-header --no-annotate --strip-extras --allow-unsafe

.PHONY: demo test check fuzz bench docs lock clean

demo: $(VENV)/.run
	@$(BIN)/posthouse demo $(ARGS)

test: $(VENV)/.test
	@.ci/debian-packages $(TEST_PACKAGES)
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest --quiet tests/architecture

fuzz: $(VENV)/.test
	@$(BIN)/python -m tests.fuzz.guided $(ARGS)

bench: $(VENV)/.test
	@.ci/debian-packages $(BENCH_PACKAGES)
	@$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.run
	@$(BIN)/posthouse config reference > docs/configuration.md
	@$(BIN)/python -m tests.architecture.pages

lock: $(VENV)/.test
	@$(INSTALL) pip-tools
	@$(COMPILE) -o requirements/run.txt pyproject.toml
	@$(COMPILE) --extra cluster --extra test -c requirements/run.txt -o requirements/test.txt pyproject.toml
	@sed -i "s/^\(atheris==[^ ]*\) /\1 ; python_version < '3.14' and platform_machine == 'x86_64' /" requirements/test.txt
	@$(COMPILE) -o requirements/build.txt requirements/build.in

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Stamps: what is set up already is not set up again.
$(BIN)/python:
	@.ci/venv $(PYTHON) $(VENV)

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@$(INSTALL) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.run
	@$(INSTALL) --require-hashes -r requirements/test.txt
	@touch $@
