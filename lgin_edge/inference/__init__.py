"""Running a model on a frame, on the CPU or on a GPU."""
