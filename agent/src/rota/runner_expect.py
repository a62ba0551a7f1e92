"""What is suspicious about a success, by what its task expects; imported for tasks that expect something.

`rota.core.expectation` writes what this reads: name, operator, number, `x` for a factor of the median, and what the
configuration says, with bars between them.
"""

from collections.abc import Callable, Mapping

HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    "=": lambda value, bound: value == bound,
}


def unexpected(expectations: str, values: Mapping[str, float], plan: str) -> list[str]:
    """A sentence for each expectation that is not met; one of a median that is not known yet says nothing."""
    medians = read_medians(plan)
    sentences = []
    for written in expectations.split(";"):
        name, sign, number, is_factor, said = written.split("|")
        usual = medians.get(name) if is_factor else 1.0
        if usual is None:
            continue
        told = f"{said} ({show(name, usual)})" if is_factor else said
        if name not in values:
            sentences.append(f"{name} was not reported; expected {told}")
        elif not HOLDS[sign](values[name], float(number) * usual):
            sentences.append(f"{name} is {show(name, values[name])}; expected {told}")
    return sentences


def read_medians(plan: str) -> dict[str, float]:
    """The lines `# median NAME NUMBER` of the task's plan."""
    found = {}
    for line in plan.split("\n"):
        if line.startswith("# median "):
            name, _, number = line[9:].rpartition(" ")
            found[name] = float(number)
    return found


def show(name: str, value: float) -> str:
    text = f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
    return f"{text} s" if name == "duration" else text
