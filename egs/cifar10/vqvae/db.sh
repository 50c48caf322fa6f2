# shellcheck shell=bash
# Where the corpus lies on this machine, for good; --db-root says it for one run. Empty: stage -1 downloads it.
export db_root=${db_root:-}
