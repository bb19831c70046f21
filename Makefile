# Everything a person types. `make` alone lists it.
.DEFAULT_GOAL := help
help:
	@echo "make run | test | test-long | bench | check | fmt | build | clean"
.PHONY: help
