"""Fails if the type of a public name is not known: what a user's type checker would make of this package.

The adapters are left out: their frameworks are not installed here. ``frameworks.py`` checks them with their frameworks.
"""

import json
import subprocess
import sys

ADAPTERS = "sessionlog.adapters."


def main() -> int:
    """Ask basedpyright, and print each name whose type is not known; the result is the exit status."""
    command = ["basedpyright", "--verifytypes", "sessionlog", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    public = [one for one in symbols if one["isExported"] and not one["name"].startswith(ADAPTERS)]
    unknown = [one for one in public if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    for one in unknown:
        print(one["name"], *(f"  {found['message']}" for found in one["diagnostics"]), sep="\n")
    print(f"{len(public)} public names, the types of {len(unknown)} are not known")
    return 1 if unknown or not public else 0


if __name__ == "__main__":
    sys.exit(main())
