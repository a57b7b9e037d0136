"""`mmcoa doctor --checkpoint`: when a robust number looks false.

A defence may hide its gradients instead of withstanding anything (Athalye et al., 2018, arXiv 1802.00420). The checks
are those that Carlini et al. (2019, arXiv 1902.06705) ask of an evaluation: `checks.py` has a function for each,
`evidence.py` what they look at, and `examination.py` runs the checks.
"""
