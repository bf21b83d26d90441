"""More programs than the fast tests run, of configurations that they do not have."""

from tests.fast.test_oracle import CONFIGURATIONS, QUIET, run

import pytest


@QUIET
@pytest.mark.parametrize("number", range(CONFIGURATIONS, CONFIGURATIONS + 14))
def test_more_programs_give_what_plain_keras_gives(number, tmp_path, monkeypatch):
    assert run(number, 8, tmp_path, monkeypatch)[0] == 8
