"""The command of every pack's task: `python -m rota.packs PACK.NAME [SETTINGS-AS-JSON]`."""

import json
import os
import sys

from rota.adapters.report import report_of
from rota.catalogue import bind, tasks_of
from rota.core.errors import RotaError


def main(arguments: list[str]) -> int:
    """Run the function with its settings; an error the operator can do something about is one line, exit 1.

    What a run by hand sets comes in the environment, and wins over the host's settings.
    """
    name, settings = arguments[0], json.loads(arguments[1]) if len(arguments) > 1 else {}
    settings |= json.loads(os.environ.get("ROTA_PARAMETERS") or "{}")
    pack, _, wanted = name.partition(".")
    for each in tasks_of(pack):
        if each.name == wanted:
            try:
                each.function(report_of(os.environ), **bind(each.function, settings))
            except RotaError as error:
                print(error, file=sys.stderr)
                return 1
            return 0
    print(f"There is no task {name!r} in the installed packs.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
