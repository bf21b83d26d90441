"""What `make test-slow` runs: real kernels on JupyterLab, students' copies, the benchmark."""
