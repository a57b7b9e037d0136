"""mmcoa: the adversarial robustness of vision-language models, from the command line."""

import os

__version__ = "0.1.0"

# Threads of OpenMP that wait by spinning make small models ten times slower wherever another program wants the cores.
# It has to be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
