"""What mmcoa keeps on disk: datasets, checkpoints, adversarial examples, and the index of results.

This package knows nothing of CLIP, of attacks or of the command line; it never imports `mmcoa_cli`.
"""
