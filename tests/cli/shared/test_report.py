"""Lines on stderr that are neither errors nor about files."""

from __future__ import annotations

import logging

from audiovq.cli.shared.report import show_notices


def test_what_the_library_logs_is_a_line_unless_quiet(capsys):
    logger = logging.getLogger("audiovq.audio.something")
    for _ in range(2):  # asked for again, it is not said twice
        show_notices()
        logger.info("compiling %s", "it")
        logger.debug("details")
        assert capsys.readouterr().err == "audiovq: compiling it\n"
    show_notices(False)
    logger.info("compiling it")
    assert capsys.readouterr().err == ""
