"""One config trained with several seeds: the runs as child processes, and what they reach together."""
