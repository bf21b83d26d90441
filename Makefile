# Each target is a verb of course.py, which says what it does (make help). CI and the README
# call only these. Written for GNU make 3.81 and later: macOS brings no newer one.
PYTHON ?= $(shell command -v python3 || command -v python)
VERBS := help lab setup doctor test test-slow test-notebooks test-browser test-install load-test \
	lint execute handout grade book benchmark links lock clean

.PHONY: $(VERBS)
$(VERBS):
	@command -v "$(PYTHON)" >/dev/null || { echo "This course needs Python 3.11, 3.12 or 3.13, and none was found. Install one, or name it: make $@ PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" course.py $@
