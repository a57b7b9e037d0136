"""One piece of work: a training run, an evaluation, and the processes that do it."""
