"""The finished pieces of the course, one module for each notebook that builds one.

Importing the package sets up TensorFlow before it is loaded. Quiet, since its log lines
would end up in stored outputs; without oneDNN, which announces itself on every start and
gains nothing here; and with one thread an operation, since the matrices of this course
are too small to be worth sharing, and a run then repeats on another number of cores. A
value that the user has set stands.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
