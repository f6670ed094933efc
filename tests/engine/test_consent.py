"""The consent to begin a new history, used once; and what becomes of a damaged journal with and without it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from headwater import adapters
from headwater.domain.errors import HeadwaterError, JournalError
from headwater.engine.consent import Consent


def test_a_consent_is_used_once(tmp_path: Path) -> None:
    assert not Consent(tmp_path, 0).stands
    Consent(tmp_path, 1).use()
    assert not Consent(tmp_path, 1).stands
    assert Consent(tmp_path, 2).stands


def test_a_damaged_journal_is_set_aside_only_with_consent_p7(tmp_path: Path) -> None:
    directory = tmp_path / "source"
    for number in (1, 2):
        adapters.journal_writer(directory, may_begin_anew=False).close()
        (directory / "journal.db").write_bytes(b"no journal at all" * 1000)
        with pytest.raises(JournalError) as refused:
            adapters.journal_writer(directory, may_begin_anew=False)
        assert refused.value.kind == "journal_damaged"
        with closing(adapters.journal_writer(directory, may_begin_anew=True)) as writer:
            assert writer.end().next_offset == 0
        assert len(list(tmp_path.glob("source.damaged*"))) == number


def test_a_journal_that_is_not_there_yet_opens_as_none(tmp_path: Path) -> None:
    assert adapters.journal_opener(tmp_path)("nobody") is None


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_type_without_an_adapter_is_refused_by_name(side: str) -> None:
    with pytest.raises(HeadwaterError, match="POSTGRESQL") as refused:
        getattr(adapters, side)("ORACLE", "id", {}, {})
    assert refused.value.kind == f"{side}_refused"
