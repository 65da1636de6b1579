"""Reading and writing files: nothing half-written, no input that is not checked."""
