"""Names of GGUF models: FILE.gguf, a folder that holds one, or OWNER/NAME:FILE.gguf on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mipo_bench.harness.errors import ModelError, first_line

ENDING = ".gguf"
_FORMS = "Give the path of the file, a folder that holds one, or OWNER/NAME:FILE.gguf of a Hugging Face repository."


@dataclass(frozen=True, slots=True)
class GgufName:
    """A GGUF file on this machine or, with the id of a `repository`, on the Hugging Face hub."""

    file: str
    repository: str = ""

    @property
    def here(self) -> Path | None:
        """The file, or that of the Hugging Face cache; None where it must be downloaded."""
        if not self.repository:
            return Path(self.file)
        import huggingface_hub

        found = huggingface_hub.try_to_load_from_cache(self.repository, self.file)
        return Path(found) if isinstance(found, str) else None

    @property
    def path(self) -> Path:
        """The file, downloaded if necessary. Raises ModelError."""
        return self.here or _download(self)


def gguf_name(model: str) -> GgufName | None:
    """The GGUF file that `--model` names; None for a model of another form.

    Raises ModelError for a file that does not exist, and for a folder with several of them.
    """
    path = Path(model)
    if path.is_dir():
        return _in_folder(path)
    if not model.lower().endswith(ENDING):
        return None
    if path.is_file():
        return GgufName(model)
    owner, colon, file = model.partition(":")
    if colon and (Path(owner) / file).is_file():
        return GgufName(str(Path(owner) / file))
    if colon and owner.count("/") == 1 and not owner.startswith((".", "/", "~")):
        return GgufName(file, owner)
    raise ModelError(f"there is no GGUF file {model!r}. {_FORMS}")


def _in_folder(folder: Path) -> GgufName | None:
    found = sorted(file for file in folder.iterdir() if file.name.lower().endswith(ENDING))
    if not found or any(folder.glob("*.safetensors")):
        return None
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ModelError(
            f"the folder {folder} holds {len(found)} GGUF files: {names}. Name one: --model {found[0]}"
            " (of a Hugging Face repository: OWNER/NAME:FILE.gguf)."
        )
    return GgufName(str(found[0]))


def _download(name: GgufName) -> Path:
    """The file in the Hugging Face cache; no other file of the repository is downloaded. Raises ModelError."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(name.repository, name.file))
    except Exception as error:
        raise ModelError(
            f"{name.file} of {name.repository} is neither here nor in the Hugging Face cache, and downloading it failed"
            f" ({type(error).__name__}: {first_line(error)}). See https://huggingface.co/{name.repository}/tree/main"
            " for the names of its files; connect to the network, and log in if the model is gated; or copy the file"
            " here and give its path."
        ) from error
