# The lab for people: two SELinux-enforcing hosts, web and db, on a private link. They live until lab-down.
PY ?= python3
HOST ?= web

.PHONY: lab-image lab-up lab-ssh lab-down

lab-image: ## Build and boot the lab image once, into the user's cache
	$(PY) -m tests.lab image

lab-up: ## Start the hosts web and db
	$(PY) -m tests.lab up

lab-ssh: ## A root shell in HOST (web, db)
	$(PY) -m tests.lab ssh $(HOST)

lab-down: ## Stop the hosts
	$(PY) -m tests.lab down
