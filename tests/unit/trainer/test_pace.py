"""Where there is no terminal, a line now and then says how far something is."""

from collections.abc import Iterator

from trainer.pace import EVERY_S, Pace


def test_a_line_at_the_first_step_every_thirty_seconds_and_at_the_end() -> None:
    now, said = 1000.0, list[str]()
    pace = Pace("training tiny", said.append, clock=lambda: now)
    for step in range(100, 201):  # a run that goes on; a step takes a second
        pace.show(step, 200, 0.5 if step % 10 == 0 else None)
        now += 1
    assert said == [
        "training tiny: 100 of 200, loss 0.5000",
        "training tiny: 130 of 200, loss 0.5000, 0:01:10 left",
        "training tiny: 160 of 200, loss 0.5000, 0:00:40 left",
        "training tiny: 190 of 200, loss 0.5000, 0:00:10 left",
        "training tiny: 200 of 200, loss 0.5000",
    ]


def test_what_takes_no_time_is_two_lines(capsys) -> None:
    times: Iterator[float] = iter(range(3))
    pace = Pace("evaluating", print, clock=lambda: EVERY_S * 0.1 * next(times))
    for done in (4096, 8192, 10_000):
        pace.show(done, 10_000)
    assert capsys.readouterr().out.splitlines() == [
        "evaluating: 4,096 of 10,000",
        "evaluating: 10,000 of 10,000",
    ]
