"""A long run that is told to stop: at its next step, and the second time at once."""

import signal

import pytest

from trainer.cli.stopping import told_to_stop


def test_a_second_interrupt_ends_the_run_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with told_to_stop() as told:
        assert not told()
        signal.raise_signal(signal.SIGINT)
        assert told()
        assert "Ctrl-C again ends at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
