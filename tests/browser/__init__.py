"""What `make test-browser` runs: JupyterLab and the book in headless Chromium."""
