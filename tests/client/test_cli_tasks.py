"""`headwater task ...` against the real API: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from headwater.cli import app
from headwater.cli.views import parse_time, plain, show_duration, show_time
from headwater.client import ApiError, Client
from headwater.ports.runtime import ApplyReport, TableReport
from headwater.profile import ProfileError, default_path, load
from tests.serving import Served, listening, service

NOW = datetime(2026, 1, 31, 12, 0, 0, 250_000, UTC)
NOW_MS = 1_769_860_800_250


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def client(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A signed client; the environment lets the command line find the same service."""
    first = served.first
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    with structlog.testing.capture_logs(), listening(served.app) as url, served.client(url) as client:
        monkeypatch.setenv("HEADWATER_ENDPOINT", url)
        for name in ("access_key", "secret_key", "project_id", "instance_id"):
            monkeypatch.setenv(f"HEADWATER_{name.upper()}", getattr(first, name))
        yield client


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["task", *arguments])


def test_list_and_show(client: Client) -> None:
    assert run("list").stdout == "No tasks.\n"
    task_id = client.create_task("shop")
    listed = run("list")
    assert listed.exit_code == 0
    assert all(word in listed.stdout for word in ("shop", "saved", task_id))
    for name in ("shop", task_id):
        shown = run("show", name)
        assert (shown.exit_code, task_id in shown.stdout) == (0, True)


def test_json(client: Client) -> None:
    task_id = client.create_task("shop")
    assert [task["task_id"] for task in json.loads(run("list", "--json").stdout)] == [task_id]
    assert json.loads(run("show", "shop", "--json").stdout)["detail"]["state"] == "saved"
    assert json.loads(run("stop", "shop", "--json").stdout) == {"task_id": task_id, "wished": "stopped"}


def test_progress_of_tables(client: Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_task("shop")
    tables = (
        TableReport("m1", "public.a", "public.a", "copying", 250, 1000, 99.0),
        TableReport("m2", "public.b", "public.c", "copied", 7, 7, 0.0),
    )
    report = ApplyReport("copying", lag_ms=90_000, lag_transactions=12_345, rows_copied=257, rows_per_s=1234.5, tables=tables)
    monkeypatch.setattr(served.parts.supervisor, "apply", lambda _: report)
    text = run("show", "shop").stdout
    for words in ("public.a", "250 of 1,000", "public.b → public.c", "1.5 min", "12,345 transactions behind", "1,234 rows/s", "257 copied"):
        assert words in text, words


def test_notes_are_said_at_the_start_and_kept(client: Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = client.create_task("shop")
    noted = "At the target: s.t has no transactions. Use another engine."

    def started(self: Client, _: str) -> None:
        served.store.record_notes(task_id, (noted,))

    monkeypatch.setattr(Client, "start", started)
    assert f"Note: {noted}" in run("start", "shop").stdout
    assert json.loads(run("start", "shop", "--json").stdout)["notes"] == [noted]
    assert noted in run("show", "shop").stdout


def test_refusals_end_with_1_and_all_findings(client: Client) -> None:
    client.create_task("shop")
    for arguments, words in (
        (("show", "nobody"), "no task with the id or name nobody"),
        (("start", "shop"), "FDI.30"),
        (("reset", "shop"), "FDI.3150"),
        (("reset", "shop", "--to", "2026-01-01"), "FDI.3"),
    ):
        ended = run(*arguments)
        assert (ended.exit_code, words in ended.stderr, ended.stdout) == (1, True, ""), (arguments, ended.output)


def test_a_name_that_several_tasks_have_is_not_guessed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [{"task_id": "1", "task_name": "twin"}, {"task_id": "2", "task_name": "twin"}]
    monkeypatch.setattr(Client, "tasks", lambda self: twins)
    ended = run("stop", "twin")
    assert (ended.exit_code, "2 tasks are named twin" in ended.stderr) == (1, True)


def test_a_wrong_key_ends_with_1(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_SECRET_KEY", "wrong")
    ended = run("list")
    assert (ended.exit_code, "verify aksk signature fail" in ended.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [("show",), ("reset", "x", "--to", "yesterday"), ("list", "--what"), ("nothing",)])
def test_wrong_use_ends_with_2(client: Client, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_missing_credentials_end_with_2_and_say_where_to_put_them(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWATER_SECRET_KEY")
    ended = run("list")
    assert (ended.exit_code, "HEADWATER_SECRET_KEY" in ended.stderr) == (2, True)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://[", "ftp://x", "127.0.0.1:8080", "http://"])
def test_no_service_ends_with_3(client: Client, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HEADWATER_ENDPOINT", endpoint)
    ended = run("list")
    assert (ended.exit_code, endpoint in ended.stderr) == (3, True), ended.output


def test_something_else_on_the_port_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PROJECT_ID", "x/../../../../healthz?")
    ended = run("list")
    assert ended.exit_code == 1


def test_the_output_of_init_is_a_profile(client: Client, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = os.environ["HEADWATER_ENDPOINT"]
    for name in ("ACCESS_KEY", "SECRET_KEY", "PROJECT_ID", "INSTANCE_ID"):
        monkeypatch.delenv(f"HEADWATER_{name}")
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(vars(served.first)))
    assert run("list", "--profile", str(file)).exit_code == 0
    toml = default_path(os.environ)
    toml.parent.mkdir()
    lines = {"endpoint": "http://127.0.0.1:1", **{name: value for name, value in vars(served.first).items() if isinstance(value, str)}}
    toml.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
    assert run("list").exit_code == 0, "the environment outweighs the file"
    monkeypatch.delenv("HEADWATER_ENDPOINT")
    assert load(None).endpoint == "http://127.0.0.1:1"
    assert endpoint != "http://127.0.0.1:1"
    assert run("list").exit_code == 3


def test_a_profile_that_cannot_be_read_quotes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "profile.toml"
    file.write_text("secret_key = unquoted-s3cret")
    for path in (file, tmp_path / "none.toml", tmp_path):
        with pytest.raises(ProfileError) as caught:
            load(path, {})
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T12:00:00.250Z", NOW_MS),
        ("2026-01-31 13:00:00.250+01:00", NOW_MS),
        ("2026-01-31T12:00:00.2509Z", NOW_MS),
        ("1769860800250", NOW_MS),
        (" 7 ", 7),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_read(text: str, ms: int) -> None:
    assert parse_time(text) == ms


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process lives in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_times_without_a_zone_are_local() -> None:
    assert parse_time("2026-01-31T07:00:00.250") == NOW_MS
    assert parse_time("2026-07-31") == round(datetime(2026, 7, 31, 4, tzinfo=UTC).timestamp() * 1000)
    assert show_time(NOW_MS) == f"2026-01-31 07:00:00.250 -05:00 ({NOW_MS})"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:00", "1e3", "-5", "٣", "0001-01-01T00:00+23:59"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


def test_times_and_durations_are_shown() -> None:
    assert show_time(NOW_MS, timezone(timedelta(hours=1))) == f"2026-01-31 13:00:00.250 +01:00 ({NOW_MS})"
    assert show_time(None) == "-"
    assert show_time(2**70) == str(2**70)
    shown: list[Any] = [show_duration(ms) for ms in (None, 0, 999, 1000, 90_000, 5_400_000, 200_000_000)]
    assert shown == ["-", "0 ms", "999 ms", "1.0 s", "1.5 min", "1.5 h", "2.3 d"]


def test_texts_from_elsewhere_can_not_drive_the_terminal() -> None:
    assert plain("[bold]a\x1b[31m\nb[/]").plain == "[bold]a [31m b[/]"


def test_our_client_reads_what_is_not_ours(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.call("GET", "/nothing")
    assert (caught.value.status, caught.value.code) == (404, "APIGW.0101")


def test_a_mapping_is_changed_pair_by_pair(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_task("shop")
    pairs = [{"source_column": name, "target_column": name} for name in ("id", "price", "note")]
    held = {"mappings": [{"id": "m1", "source_table": "public.orders", "target_table": "public.o", "mapping": pairs}]}
    saved: list[tuple[str, list[tuple[str, str]]]] = []
    monkeypatch.setattr(Client, "mappings", lambda _self, _task_id: held)
    monkeypatch.setattr(Client, "save_mapping", lambda _self, _task_id, mapping, columns: saved.append((mapping["id"], list(columns))))
    assert run("remap", "shop", "public.orders", "--map", "amount=price", "--unmap", "note").exit_code == 0
    assert run("remap", "shop", "public.orders").exit_code == 0
    assert saved == [("m1", [("id", "id"), ("amount", "price")]), ("m1", [("id", "id"), ("price", "price"), ("note", "note")])]
    assert run("remap", "shop", "public.none").exit_code == 1
    assert run("remap", "shop", "public.orders", "--map", "amount").exit_code == 2
