"""The exercises of the notebooks: a module for each, with answers, unseen cases and hints."""
