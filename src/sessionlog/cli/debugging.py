"""``--debug``: what the library logs, one line each on standard error."""

import logging

import click

from .text import safe


def log_to_stderr() -> None:
    """Show everything that the library logs; once is enough."""
    logger = logging.getLogger("sessionlog")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())
        logger.setLevel(logging.DEBUG)


class _ToStderr(logging.Handler):
    """Writes to what is standard error at that moment: a progress bar may stand in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, each line of it made safe for a terminal."""
        for line in self.format(record).splitlines():
            click.echo(f"{record.name}: {safe(line)}", err=True)
