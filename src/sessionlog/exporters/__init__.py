"""Sessions in the forms of others: one file per format.

``jsonl`` is the log itself, record by record, and still verifies; ``markdown`` is for people; ``openai`` and
``anthropic`` are message lists as the two APIs take them; ``parquet`` (extra ``parquet``, and not imported here) is a
table of one row an entry. Whatever a format cannot say is counted in an :class:`Omissions`, and nothing is made up to
fill a gap.
"""

from .anthropic import export_anthropic
from .jsonl import export_jsonl
from .markdown import export_markdown
from .omissions import Omissions
from .openai import export_openai

__all__ = ["Omissions", "export_anthropic", "export_jsonl", "export_markdown", "export_openai"]
