"""What the demo refuses before it starts anything."""

import socket
from pathlib import Path

import pytest

from adminops.demo import __main__ as demo


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkout and a `var/` of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.setattr(demo, "VAR", tmp_path / "var")
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """What the demo says as it refuses to start: always one line."""
    assert demo.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("key", ["sk_live_51Hxxxxxxxxxxxxxxxxxxxxx", "rk_live_51Hxxxxxxxxxxxxxxxxxxxxx"])
def test_a_live_key_in_the_environment_is_refused(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)
    assert refusal(capsys).startswith("There is a live Stripe key in the environment.")


@pytest.mark.parametrize("line", ["STRIPE_SECRET_KEY=rk_live_1", 'export STRIPE_SECRET_KEY="sk_live_1"'])
def test_a_live_key_in_the_env_file_is_refused(
    line: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / ".env").write_text(f"# sk_test_ or sk_live_\nDEBUG=on\n{line}\n")
    assert refusal(capsys).startswith("There is a live Stripe key in .env.")


def test_a_busy_port_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PORT", str(server.getsockname()[1]))
        assert "is in use" in refusal(capsys)


@pytest.mark.parametrize("port", ["0", "65536", "http", "²", "-1"])
def test_a_port_that_is_none_is_refused(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", port)
    assert "PORT must be a number" in refusal(capsys)


def test_a_second_demo_in_the_same_checkout_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with demo._only_one():
        assert "running already" in refusal(capsys)
