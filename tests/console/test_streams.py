"""What cannot be printed: one line and exit code 1, or no word where the reader has gone; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")
SAID = "error: standard output cannot be written: No space left on device\n"
HEAD = "import sys\nfrom datagen.console.streams import guarded\n"

needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


def run(line: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **how.pop("env", {})}  # type: ignore[dict-item]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    return subprocess.run([sys.executable, *line], env=environment, check=False, **given)  # type: ignore[call-overload, no-any-return]


def work(body: str, **how: object) -> subprocess.CompletedProcess[str]:
    """A program whose work is `body`."""
    return run(["-c", f"{HEAD}def work():\n    {body}\n    return 0\nsys.exit(guarded(work))"], **how)


def gone() -> int:
    """The writing end of a pipe whose reader has closed it."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@needs_full
@pytest.mark.parametrize(
    "body",
    [
        "print('a line')",
        "print('x' * 100_000)",
        "print('a line', flush=True)",
        "print('a line'); raise SystemExit(0)",
        "sys.stdout.write('a line')",
        "from rich.console import Console; Console().print('a line')",
        "import typer; typer.echo('a line')",
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(body: str) -> None:
    with FULL.open("w") as full:
        done = work(body, stdout=full)
    assert (done.returncode, done.stderr) == (1, SAID)


@pytest.mark.parametrize(
    "body",
    [
        "print('a line')",
        "[print('x' * 1000) for _ in range(1000)]",
        "from rich.console import Console; Console().print('a line')",
        "import typer; typer.echo('a line')",
    ],
)
def test_a_reader_that_has_gone_is_no_word(body: str) -> None:
    writing = gone()
    done = work(body, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@needs_full
def test_where_nothing_can_be_said_the_exit_code_says_it() -> None:
    with FULL.open("w") as full:
        assert work("print('a'); print('b', file=sys.stderr)", stdout=full, stderr=full).returncode == 1
        done = work("print('a'); print('b', file=sys.stderr)", stderr=full)
    assert (done.returncode, done.stdout) == (1, "a\n")
    writing = gone()
    assert work("print('progress', file=sys.stderr)", stderr=writing).returncode == 1
    os.close(writing)


def test_streams_that_are_closed_from_the_start_take_what_they_get(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    body = f"print('a'); print('b', file=sys.stderr); open({str(kept)!r}, 'w').write('mine'); print('c')"
    script = f"{HEAD}def work():\n    {body}\n    return 0\nsys.exit(guarded(work))"
    line = f'"{sys.executable}" -c "$SCRIPT" >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "SCRIPT": script, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0 and kept.read_text() == "mine"
    done = subprocess.run(
        ["sh", "-c", line.removesuffix(" >&- 2>&-") + " 2>&-"],
        env={**os.environ, "SCRIPT": script, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"a\nc\n"  # what was for stderr is not among the results


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("fünf …", "ascii", b"f\\xfcnf \\u2026"),
        ("\u732b", "latin-1", b"\\u732b"),
        ("a\udcff", "utf-8", b"a\\udcff"),  # of a file name that is no text
        ("fünf …", "utf-8", "fünf …".encode()),
    ],
)
def test_letters_that_stdout_has_not_are_escaped(text: str, encoding: str, written: bytes) -> None:
    done = work(f"print({ascii(text)})", text=False, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0 and done.stdout.rstrip() == written  # type: ignore[comparison-overlap]


@needs_full
@pytest.mark.parametrize(
    "line",
    [
        ["-m", "datagen", "list", "recipes"],
        ["-m", "datagen", "--help"],
        ["-m", "datagen", "estimate", "pick-style", "--profile", "embedded"],
        ["training/run.py", "--help"],
        ["training/evaluate.py", "--help"],
    ],
)
def test_both_programs_end_so(line: list[str]) -> None:
    with FULL.open("w") as full:
        done = run(line, stdout=full, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, SAID)
    writing = gone()
    done = run(line, stdout=writing, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_error_of_ones_own_keeps_its_exit_code() -> None:
    assert work("raise SystemExit(2)").returncode == 2
    assert work("return 130").returncode == 130
    done = work("raise OSError(28, 'No space left on device', 'a file')")
    assert done.returncode == 1 and "standard output" not in done.stderr  # of a file: its owner's to say
