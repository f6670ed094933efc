"""Settings: where they come from, which place wins, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.settings import Settings, SettingsError, load, names, variable


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*names(), "config"]:
        monkeypatch.delenv(variable(name), raising=False)


def test_the_command_line_wins_over_the_environment_which_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headwater.toml").write_text('host = "file"\nport = 1\n[journal]\nage_s = 61\nbytes_max = 17000000\n')
    assert (load(data_dir=tmp_path).host, load(data_dir=tmp_path).port) == ("file", 1)
    monkeypatch.setenv("HEADWATER_PORT", "2")
    monkeypatch.setenv("HEADWATER_JOURNAL__AGE_S", "62")
    settings = load(data_dir=tmp_path, host="line", port=None)
    assert (settings.host, settings.port) == ("line", 2)
    assert (settings.journal.age_s, settings.journal.bytes_max) == (62, 17_000_000)


def test_a_named_file_is_used_instead_of_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headwater.toml").write_text("port = 1")
    (tmp_path / "other.toml").write_text("port = 3")
    assert load(tmp_path / "other.toml", data_dir=tmp_path).port == 3
    monkeypatch.setenv("HEADWATER_CONFIG", str(tmp_path / "other.toml"))
    assert load(data_dir=tmp_path).port == 3
    monkeypatch.setenv("HEADWATER_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"no settings file .*none\.toml"):
        load(data_dir=tmp_path)


def test_the_data_directory_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headwater.toml").write_text("port = 4")
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    assert load().port == 4
    assert load().metadata_url == f"sqlite:///{tmp_path}/headwater.db"


def test_the_data_directory_is_required() -> None:
    with pytest.raises(SettingsError, match=r"data_dir: must be given, as --data-dir or HEADWATER_DATA_DIR"):
        load()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prot = 1", "prot: there is no such setting; known are data_dir, host, port"),
        ("[journal]\nage = 1", "journal.age: there is no such setting"),
        ("port = 70000", r"port \(or HEADWATER_PORT\): input should be less than or equal to 65535"),
        ("[journal]\nbytes_max = 99000000\nbytes_hard = 98000000", "journal.bytes_hard must not be smaller than journal.bytes_max"),
        ("port", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "headwater.toml").write_text(text)
    with pytest.raises(SettingsError, match=complaint) as raised:
        load(data_dir=tmp_path)
    assert "headwater.toml" in str(raised.value)


def test_all_mistakes_are_told_at_once_and_no_value_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ENCRYPTION_KEY", "too-short-a-secret")
    monkeypatch.setenv("HEADWATER_PORT", "not-a-port")
    with pytest.raises(SettingsError) as raised:
        load(data_dir=tmp_path)
    assert "encryption_key" in str(raised.value)
    assert "port" in str(raised.value)
    assert "too-short" not in str(raised.value)
    assert "not-a-port" not in str(raised.value)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path, encryption_key="k" * 32, database_url="postgresql://u:hidden@h/d")
    assert "hidden" not in repr(settings)
    assert "k" * 32 not in repr(settings)
    assert settings.metadata_url == "postgresql://u:hidden@h/d"


def test_a_relative_data_directory_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(data_dir=Path("here")).data_dir == tmp_path / "here"


def test_every_setting_has_a_description_with_its_reason() -> None:
    def undocumented(model: type) -> list[str]:
        fields = getattr(model, "model_fields", {})
        return [name for name, field in fields.items() if not field.description] + [
            f"{name}.{inner}"
            for name, field in fields.items()
            if isinstance(field.annotation, type)
            for inner in undocumented(field.annotation)
        ]

    assert undocumented(Settings) == []
