"""Books from bytes, and the shared memory they are published in."""
