"""Right answers of another form than the solutions, a module for each notebook."""
