"""The command that looks whether all is as it must be."""

from collections import Counter

from worker.cli import console
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.doctor.findings import Finding, Findings, Level, wrong
from worker.errors import ConfigurationError
from worker.settings.environment import read_settings

commands = Group("commands")
INDENT = " " * 9


@commands.example("doi-worker doctor")
@as_json
def doctor(as_json: bool) -> int:
    """Look whether all is as it must be: settings, Redis, Qdrant, models, workers, this machine.

    Each finding that is not ok says what to do. The exit code is 0 where all is well, 3 where there
    are warnings, and 1 where there are errors. It changes nothing; the model is loaded, which takes
    a few seconds.
    """
    levels: Counter[Level] = Counter()
    for finding in _findings():
        levels[finding.level] += 1
        if as_json:
            console.say_json(finding._asdict())
        else:
            _tell(finding)
    if levels[Level.ERROR]:
        return 1
    return EXIT_LOSSES if levels[Level.WARNING] else 0


def _findings() -> Findings:
    try:
        settings = read_settings()
    except ConfigurationError as error:
        yield wrong("settings", str(error), "set it right, or leave it out (README.md has them)")
        return
    from worker.doctor.examination import examine  # noqa: PLC0415 - imports all that it looks at

    yield from examine(settings)


def _tell(finding: Finding) -> None:
    console.out.print(f"{finding.level:<8} {finding.check}: {finding.words}")
    if finding.todo:
        console.out.print(f"{INDENT}{finding.todo}")
