"""Training on Lightning: what all runs share; `speech`, `image` and `prior` say what is trained, and on what."""

import os

# Lightning reads these as it is imported, as whole numbers; what a shell left in them makes no process of ours.
for _name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
    if not os.environ.get(_name, "0").isdecimal():
        del os.environ[_name]
