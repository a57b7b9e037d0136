"""Every test sees the package's own settings of threads, whichever module it imports first."""

import mmcoa_cli  # noqa: F401  (sets OMP_WAIT_POLICY, which torch reads when it is loaded)
