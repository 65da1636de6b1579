"""`python -m gpt_from_scratch.params FILE...` writes the comments of parameter files anew."""

from __future__ import annotations

import sys
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.commented import write_comments

if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            write_comments(Path(name))
    except InputError as error:
        sys.exit(f"error: {error}")
