"""What holds for every test."""

import signal

# A script that starts the tests in the background has SIGINT ignored, and so would every process that they start;
# some of them are about Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
