"""A plan's work as jobs of a cluster: which there are, how they are handed to Slurm, and how far they are."""
