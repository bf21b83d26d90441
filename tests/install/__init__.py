"""What `make test-binder` runs: it makes environments, which fetches packages."""
