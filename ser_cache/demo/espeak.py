"""The door to the espeak-ng speech synthesiser: its shared library, from `espeakng-loader`, through ctypes.

espeak-ng keeps everything in C globals: the voice, the parameters, the phase of the pitch flutter, the state
of the noise generator. Some of it outlives even ``espeak_Terminate``, so the same calls give other samples
the second time. Each `Synthesiser` therefore loads a private copy of the library, whose globals are fresh,
and seeds the noise itself (the library seeds it from the clock): the same calls then give the same bytes, in
any process, and two synthesisers do not disturb each other.
"""

import ctypes
import shutil
import tempfile
import threading
from _ctypes import dlclose
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import DemoError

SAMPLE_RATE = 22_050
"""Hertz; the only rate at which espeak-ng speaks with its own voices."""

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_RETURN_ERRORS = 0x8000  # otherwise espeak_Initialize ends the process when its data are missing
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4

_LONGEST_DATA_PATH = 120
"""Characters. espeak-ng's buffer holds 160; longer paths are cut silently, then another folder is tried."""

_OnAudio = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Prosody:
    """How a sentence is said, in espeak-ng's own units.

    Attributes:
        rate: words per minute, 80 to 450 (175 is its default).
        pitch: 0 to 99; 50 is the voice's own, and 50 more or less is an octave up or down.
        span: pitch range, 0 (monotone) to 99; 50 is the voice's own.
        volume: amplitude, 0 to 200; proportional to the sound pressure. Some voices clip from 90 on.
    """

    rate: int
    pitch: int
    span: int
    volume: int


class Synthesiser:
    """One private espeak-ng, to be used in a ``with`` block; `speak` may be called from any thread.

    Attributes:
        version: espeak-ng's version, inside the block.
    """

    version: str

    def __enter__(self) -> Self:
        """Load and initialise the library.

        Raises:
            DemoError: `espeakng-loader` is not installed, or its library or data cannot be used.
        """
        library, data = _installed()
        self._folder = tempfile.TemporaryDirectory(prefix="espeak-")
        self._lock = threading.Lock()  # ctypes lets other threads run during a call, the C globals do not
        self._heard: list[bytes] = []
        self._on_audio = _OnAudio(self._keep)  # referenced here, or it is collected while C still calls it
        try:
            self._load(library, data)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut the library down, unload it and delete its copy."""
        self._library.espeak_Terminate()
        dlclose(self._library._handle)
        self._folder.cleanup()

    def speak(self, text: str, voice: str, prosody: Prosody, noise_seed: int) -> NDArray[np.int16]:
        """Say a text.

        Args:
            text: in the language's own script.
            voice: a language, with a variant or without, as in ``it+f2``.
            prosody: rate, pitch, range and volume.
            noise_seed: seeds the breath noise that some variants have.

        Returns:
            (samples,) at `SAMPLE_RATE`.

        Raises:
            DemoError: a call failed (it is named), or the result is empty.
        """
        with self._lock:
            self._heard.clear()
            self._call("espeak_SetVoiceByName", voice.encode())
            self._call("espeak_ng_SetRandSeed", ctypes.c_long(noise_seed))
            settings = (
                (_RATE, prosody.rate),
                (_VOLUME, prosody.volume),
                (_PITCH, prosody.pitch),
                (_RANGE, prosody.span),
            )
            for parameter, value in settings:
                self._call("espeak_SetParameter", parameter, value, 0)
            encoded = text.encode()
            self._call("espeak_Synth", encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None)
            samples = np.frombuffer(b"".join(self._heard), dtype=np.int16)
        if not samples.any():
            raise DemoError(f"espeak-ng said nothing for {text!r} with voice {voice!r}; try another voice.")
        return samples

    def _load(self, library: Path, data: Path) -> None:
        """Load a copy of the library from the temporary folder, and reach its data through a short link."""
        folder = Path(self._folder.name)
        link = folder / "espeak-ng-data"
        if len(str(link)) > _LONGEST_DATA_PATH:
            raise DemoError(
                f"the temporary folder {folder} is too deep for espeak-ng; set TMPDIR to a shorter path."
            )
        link.symlink_to(data.resolve(), target_is_directory=True)
        copy = folder / library.name
        shutil.copyfile(library, copy)
        try:
            self._library = ctypes.CDLL(str(copy))
        except OSError as error:
            raise DemoError(f"espeak-ng's library {library} cannot be loaded ({error}).") from error
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version = self._library.espeak_Info(None).decode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(link).encode(), _RETURN_ERRORS)
        if rate != SAMPLE_RATE:
            raise DemoError(
                f"espeak_Initialize gave {rate} instead of {SAMPLE_RATE} Hz with the data in {data}."
            )
        self._library.espeak_SetSynthCallback(self._on_audio)

    def _keep(self, samples: int | None, count: int, _events: int | None) -> int:
        """Receive a stretch of audio; 0 asks for more."""
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, count * 2))
        return 0

    def _call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - whatever ctypes converts
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise DemoError(
                f"espeak-ng {self.version} has no {name}; update it: pip install -U espeakng-loader"
            ) from error
        if status := function(*arguments):
            raise DemoError(f"espeak-ng: {name}({_shown(arguments)}) failed with status {status}.")


def _shown(arguments: Sequence[object]) -> str:
    return ", ".join(
        argument.decode() if isinstance(argument, bytes) else str(argument) for argument in arguments[:2]
    )


def _installed() -> tuple[Path, Path]:
    """The shared library and the data folder of `espeakng-loader`."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise DemoError(
            "the demo speaks with espeak-ng, which is not installed: pip install espeakng-loader"
        ) from error
    library = Path(espeakng_loader.get_library_path())
    data = library.parent / "espeak-ng-data"
    for path in (library, data / "phontab"):
        if not path.exists():
            raise DemoError(
                f"{path} is missing; install it again: pip install --force-reinstall espeakng-loader"
            )
    return library, data
