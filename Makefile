# make demo and make test set up what they need themselves: Debian packages (as root), then a virtual environment.
SHELL := /bin/bash
PY := .venv/bin/python
BIN := .venv/bin
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/senet-firewall
GALAXY := $(CACHE)/galaxy

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

.PHONY: setup setup-lab
setup: ## the packages and the virtual environment that every test needs
	@tests/setup.sh apt tests/apt-packages.txt
	@tests/setup.sh venv .venv tests/requirements.txt
	@$(PY) -m tests.collection_tree >/dev/null

setup-lab: setup
	@tests/setup.sh apt tests/lab/apt-packages.txt

.PHONY: demo test unit unit-all vm
demo: setup-lab ## httpd_t reaches PostgreSQL and nobody else does, shown on a virtual machine that enforces SELinux
	@$(PY) -m tests.demo

# Where another part leaves a core idle, the lab's kernel and images are built already
test: setup-lab ## everything: lint, unit-all, molecule, vm; goes on after a failure and still fails
	@$(RM) build/times; mkdir -p build
	@set -m; nice -n 19 $(MAKE) --no-print-directory lab-build >build/lab.log 2>&1 & lab=$$!; set +m; \
	trap 'kill -- -$$lab 2>/dev/null' EXIT; \
	$(MAKE) --no-print-directory --keep-going $(addprefix timed-,lint unit-all molecule vm)

# One pair stands for all there; `make molecule` runs the scenarios of the others too
timed-molecule: export SCENARIO := httpd_to_postgresql no_selinux two_hosts

timed-%:
	@tests/timed.sh $* $(MAKE) --no-print-directory --keep-going $*

# What takes long runs only when a file that it reads has changed since it passed.
UNCHANGED := tests/unchanged.sh
SANITY_FILES := ':!docs' ':!*.md'
MACHINE_FILES := ':!docs' ':!changelogs' ':!tests/unit' ':!tests/package'

unit: setup ## the unit tests that are quick, with few examples each: about a minute
	@$(PY) -m pytest --numprocesses=auto --quiet -m 'not long' --hypothesis-profile=few tests/unit

unit-all: setup ## all unit tests, with playbooks and many examples, and the built collection
	@$(UNCHANGED) . -- $(PY) -m pytest --numprocesses=auto --junit-xml=build/junit/unit.xml tests/unit tests/package

# A test on a machine waits for two fifths of its time
VMS := $(shell echo $$(($$(nproc) + 1)))
VM_FILES = $(MACHINE_FILES)
# Among the words, since they decide what a run is a run of
LAB_KIND = $(if $(SENET_LAB_KIND),env SENET_LAB_KIND=$(SENET_LAB_KIND))
VM_TESTS = $(UNCHANGED) $(VM_FILES) -- $(POLICY) $(LAB_KIND) $(PY) -m pytest --numprocesses=$(VMS) --dist=loadfile --no-loadscope-reorder --verbose --durations=20 \
	--junit-xml=build/junit/$@.xml

# By guest (its distribution, its policy) and kernel: the newest one but for vm-stock, which has the distribution's own.
FEDORA_MARKS = smoke and not thorough
FEDORA_CASES = not nftables and not confine
POLICY_SOURCE = $(PY) -c 'from tests.lab.policy import policy_source; print(policy_source() or "")'
# Files outside the tree decide these tests, too
vm-fedora: POLICY = env SENET_POLICY=$$($(PY) -c 'from tests.lab.policy import *; print(policy_digest(required_source()))')
.PHONY: vm-debian12 vm-fedora vm-stock vm-debian13
# The emulated machine by itself, for beside the others its services take longer than systemd gives them
vm: ## the tests on virtual machines that enforce SELinux, each also a target of its own: vm-debian12, vm-fedora, vm-stock
	@$(MAKE) --no-print-directory timed-vm-stock; first=$$?; \
	$(MAKE) --no-print-directory timed-vm-debian12 & second=$$!; \
	$(MAKE) --no-print-directory VMS=1 timed-vm-fedora; third=$$?; \
	wait $$second && exit $$((first || third))

vm-debian12: setup-lab
	@$(VM_TESTS) -m 'not thorough and not stock_kernel' tests/vm

vm-fedora: setup-lab
	@if [ -n "$$($(POLICY_SOURCE))" ]; then \
	  $(VM_TESTS) --guest=debian12-fedora -m '($(FEDORA_MARKS)) and not stock_kernel' \
	    -k '$(FEDORA_CASES)' tests/vm; \
	else echo "$@: not run, since SENET_POLICY_SOURCE names no source of Fedora's policy (see CONTRIBUTING.md)"; fi

vm-debian13: setup-lab
	@$(VM_TESTS) --guest=debian13 -m 'core and not thorough and not stock_kernel' tests/vm

vm-stock: setup-lab
	@$(VM_TESTS) --kind=qemu -m 'stock_kernel' tests/vm/test_lab.py

.PHONY: vm-thorough vm-thorough-debian12 vm-thorough-stock vm-debian11
vm-thorough: ## the same at length: both backends everywhere, a thousand flows, all on the stock kernel, the oldest tools
	@$(MAKE) --no-print-directory --keep-going FEDORA_MARKS='core and not thorough or policy' FEDORA_CASES= \
		VM_FILES=. vm-thorough-debian12 vm-fedora vm-debian13 vm-thorough-stock vm-debian11

vm-thorough-debian12: setup-lab
	@$(VM_TESTS) -m 'not stock_kernel' tests/vm

vm-thorough-stock: setup-lab
	@$(VM_TESTS) --kind=qemu -m 'core or stock_kernel' tests/vm

vm-debian11: setup-lab
	@$(VM_TESTS) --guest=debian11 --kind=qemu -m 'smoke and not thorough' tests/vm

.PHONY: crash
crash: setup-lab ## a change ended after each of its steps, by kill -9 and by a power cut, into build/crash.json
	@$(UNCHANGED) $(MACHINE_FILES) -- $(LAB_KIND) $(PY) -m tests.crash build/crash.json

.PHONY: oracle
oracle: setup ## what the rules and the policy decide against the promise, packet by packet, into build/oracle.json
	@$(PY) -m tests.oracle build/oracle.json

.PHONY: bypass
bypass: setup-lab ## each way around a flow that we know of, tried on a machine that enforces it, into build/bypass.json
	@$(PY) -m tests.bypass build/bypass.json

.PHONY: bench
bench: setup-lab ## what the collection costs a packet, a play and a host, into build/bench.json
	@tests/setup.sh apt tests/bench/apt-packages.txt
	@PYTHONPATH=build/collections $(PY) -m tests.bench

.PHONY: bench-ipsec
bench-ipsec: setup-lab ## what labelled IPsec costs between two machines, into build/bench-ipsec.json
	@PYTHONPATH=build/collections $(PY) -m tests.bench.ipsec

.PHONY: fleet
fleet: setup ## hosts in namespaces, rolled out, audited and broken as from AWX, into build/fleet.json: make fleet HOSTS=20
	@tests/setup.sh apt tests/fleet/apt-packages.txt
	@$(PY) -m tests.fleet build/fleet.json $(if $(HOSTS),--hosts $(HOSTS))

.PHONY: molecule
molecule: setup ## all container scenarios, or some of them: make molecule SCENARIO=no_selinux
	@tests/setup.sh apt tests/containers/apt-packages.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" NO_COLOR=1 $(UNCHANGED) $(MACHINE_FILES) ':!tests/vm' ':!*.md' -- \
		$(PY) -m tests.containers.engine \
		molecule test $(if $(SCENARIO),$(addprefix --scenario-name ,$(SCENARIO)),--all --exclude default)

.PHONY: roles
roles: setup ## the roles of the service pairs, anew from the catalogue
	@PYTHONPATH=build/collections $(PY) -m tests.pair_roles

# The ansible-core versions beside that of .venv, 2.19, each with a Python that it supports
CORES := 2.16 2.18 2.20 2.21
# What takes most of sanity's time and asks nothing of ansible-core: `make lint` has it once
LINTERS := pylint pep8 yamllint shellcheck changelog
LINTERS_BY := 2.19 $(CORES)
core = $(if $(filter 2.19,$1),.venv,$(CACHE)/core-$1)
PYTHON_3_13 := $(CACHE)/python3.13/usr/bin/python3.13
PYTHON_2.20 := $(PYTHON_3_13)
PYTHON_2.21 := $(PYTHON_3_13)
SETUP_CORES := $(addprefix setup-core-,$(CORES))
UNIT_CORES := $(addprefix unit-,$(CORES))
SANITY := $(addprefix lint-sanity-,$(sort $(CORES) 2.19))

$(PYTHON_3_13): | setup
	@tests/setup.sh python3.13 $(CACHE)/python3.13

.PHONY: $(SETUP_CORES) $(UNIT_CORES)
setup-core-2.20 setup-core-2.21: $(PYTHON_3_13)
$(SETUP_CORES): setup-core-%: setup
	@PYTHON=$(PYTHON_$*) tests/setup.sh venv $(call core,$*) tests/cores/common.txt tests/cores/$*.txt

.PHONY: cores
cores: setup ## sanity and unit-cores on every version of ansible-core, where `make lint` has the oldest and the tests' own
	@$(MAKE) --no-print-directory --keep-going $(SANITY) unit-cores

.PHONY: unit-cores
unit-cores: $(UNIT_CORES) ## what of the unit tests meets ansible-core, on each of its versions: unit-2.16, ...

$(UNIT_CORES): unit-%: setup-core-%
	@tests/quiet.sh $@ $(UNCHANGED) $(SANITY_FILES) -- $(call core,$*)/bin/python -m pytest -p no:cacheprovider \
		--junit-xml=build/junit/$@.xml tests/unit/plugins/action tests/unit/plugins/filter tests/unit/plugins/modules \
		tests/package

CHECKS := lint-sanity-2.16 lint-sanity-2.19 lint-ansible lint-mypy lint-ruff lint-vermin lint-yaml lint-changelog lint-galaxy \
	lint-shell
.PHONY: lint $(CHECKS) $(SANITY)
lint: setup ## every static check, each also a target of its own: lint-ansible, lint-mypy, ...
	@$(MAKE) --no-print-directory --keep-going --jobs=$(shell nproc) --output-sync=target LINTERS_BY=2.19 $(CHECKS)

$(CHECKS) $(SANITY): setup
$(foreach core,$(CORES),$(eval lint-sanity-$(core): setup-core-$(core)))

$(SANITY): lint-sanity-%:
	@tests/quiet.sh $@ $(UNCHANGED) $(SANITY_FILES) -- tests/sanity.sh $(call core,$*) \
		$(if $(filter $(LINTERS_BY),$*),,$(addprefix --skip-test ,$(LINTERS)))

lint-ansible:
	@PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/build/collections tests/quiet.sh $@ ansible-lint --strict

lint-mypy:
	@tests/quiet.sh $@ $(BIN)/mypy

lint-ruff:
	@tests/quiet.sh $@ $(BIN)/ruff check

lint-vermin: # RHEL 8's platform Python
	@tests/quiet.sh $@ $(BIN)/vermin --quiet --target=3.6- --violations --eval-annotations plugins/modules plugins/module_utils

lint-yaml:
	@tests/quiet.sh $@ $(BIN)/yamllint --strict .

lint-changelog:
	@tests/quiet.sh $@ $(BIN)/antsibull-changelog lint

lint-galaxy: # what Galaxy says to an upload
	@tests/setup.sh venv $(GALAXY) tests/requirements-galaxy.txt
	@tests/quiet.sh $@ $(UNCHANGED) . -- tests/galaxy.sh $(GALAXY)

lint-shell:
	@tests/quiet.sh $@ shellcheck $$(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)

-include tests/lab/lab.mk
