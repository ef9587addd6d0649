# The lab for people: two SELinux-enforcing hosts, web and db, on a private link. They live until lab-down.
HOST ?= web
# The kind of machine: uml (the newest kernel at native speed) or qemu (Debian's own kernel); by default uml where it works.
KIND ?=
# The guest: debian12, debian13, debian11, or debian12-fedora.
GUEST ?= debian12

.PHONY: policy lab-build lab-image lab-up lab-ssh lab-down

policy: setup-lab ## a policy of Fedora's kind and the guest debian12-fedora with it: make policy SOURCE=selinux-policy.tar.xz
	@$(PY) -m tests.lab.policy $(SOURCE)

# What the guests of `make vm` are made of; the tests build whatever is still missing then
lab-build: setup-lab
	@SENET_LAB_KIND=$(KIND) $(PY) -m tests.lab --guest debian12 build
	@if [ -n "$$($(POLICY_SOURCE))" ]; then SENET_LAB_KIND=$(KIND) $(PY) -m tests.lab --guest debian12-fedora build; fi

lab-image: setup-lab ## build and boot the virtual machine's image once, into the user's cache
	@SENET_LAB_KIND=$(KIND) $(PY) -m tests.lab --guest $(GUEST) image

lab-up: setup-lab ## start two virtual machines, web and db: make lab-up KIND=qemu
	@SENET_LAB_KIND=$(KIND) $(PY) -m tests.lab --guest $(GUEST) up

lab-ssh: ## a root shell in one of them: make lab-ssh HOST=web
	@$(PY) -m tests.lab ssh $(HOST)

lab-down: ## stop them
	@$(PY) -m tests.lab down
