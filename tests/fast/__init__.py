"""What `make test` runs for each change: minutes, no network, no browser."""
