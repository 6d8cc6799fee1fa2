"""The machine: device, processes, precision, signals, files. What differs between machines is here alone."""
