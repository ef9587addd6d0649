# The lab for people: two SELinux-enforcing hosts, web and db, on a private link. They live until lab-down.
HOST ?= web

.PHONY: lab-image lab-up lab-ssh lab-down

lab-image: setup-lab ## build and boot the virtual machine's image once, into the user's cache
	@$(PY) -m tests.lab image

lab-up: setup-lab ## start two virtual machines, web and db
	@$(PY) -m tests.lab up

lab-ssh: ## a root shell in one of them: make lab-ssh HOST=web
	@$(PY) -m tests.lab ssh $(HOST)

lab-down: ## stop them
	@$(PY) -m tests.lab down
