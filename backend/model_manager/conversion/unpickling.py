"""The process that opens a pickle: it reads tensors out of it, writes them as safetensors, and ends.

It is started by `convert` and talks in lines of JSON on its standard output: what it is confined by, how far it is, and
at last what it made or the sentence that says why not. Nobody else may import it: this is the one place in which a
pickle is opened, and it belongs into a process that can be thrown away.
"""

import json
import mmap
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import ModelFileError
from backend.model_manager.conversion.confinement import (
    PYTHON,
    Limits,
    apply_limits,
    confine_by_audit,
    confine_by_kernel,
)
from backend.model_manager.conversion.inert_pickle import DamagedPickle, Inert
from backend.model_manager.conversion.tensor_file import (
    HASHED_SHARE,
    NO_ROOM,
    OF_TORCH,
    PIECE,
    TORCH_NAMES,
    NewTensor,
    Phases,
    sha256_of,
    write_tensors,
)
from backend.model_manager.conversion.torch_archive import Archive, StoredTensor, is_zip, read_archive
from backend.model_manager.header import DTYPE_BITS, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

# Where training scripts put the state dict: the averaged weights of an upscaler before its last ones.
WRAPPERS = ("state_dict", "params_ema", "params", "model")
DEEPEST_WRAPPER = 4
GROWTH = 4  # tensors that share memory are written out once each
SMALL = 1024 * 1024  # bytes that any file may grow by, on top
LONGEST_TEXT = 1000  # characters
MOST_TEXTS = 100

Say = Callable[..., None]


@dataclass(kw_only=True)
class Found:
    """What is of use in a file: its tensors by name, its small texts and numbers, the names of what is neither."""

    tensors: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


def main() -> None:
    """Do what the first argument asks for in JSON: `source`, `partial`, and the fields of `Limits`."""
    task = json.loads(sys.argv[1])
    source, partial = Path(task["source"]), Path(task["partial"])
    # What libraries print must not be taken for our own lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, **what: Any) -> None:
        # On a line of its own, whatever a library has printed before.
        out.write("\n" + json.dumps({"kind": kind, **what}) + "\n")
        out.flush()

    try:
        _convert(source, partial, Limits(**task["limits"]), say)
    except ModelFileError as error:
        say("refused", sentence=str(error))
    except DamagedPickle as error:
        say("refused", sentence=f"{source.name} {error}")
    except MemoryError:
        say("refused", sentence=_too_much_memory(source))
    except Exception as error:  # noqa: BLE001  whatever a hostile file causes ends here, in a sentence
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            say("refused", sentence=f"{source.name} cannot be converted: there is no room left for the result.")
            return
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "alloc" in reason.lower():
            say("refused", sentence=_too_much_memory(source))
        else:
            say("refused", sentence=f"{source.name} cannot be converted: {reason}.")


def _too_much_memory(source: Path) -> str:
    return f"{source.name} cannot be converted: it asks for more memory than a file of its size may."


def _convert(source: Path, partial: Path, limits: Limits, say: Say) -> None:
    # Before the locks: to find its libraries it starts programs and writes files.
    import torch

    torch.set_num_threads(1)
    held = confine_by_kernel(partial)
    tried = confine_by_audit(partial)
    say("confined", locks=[*held, PYTHON], limits=apply_limits(limits))
    try:
        done = _write(source, partial, say)
    finally:
        if tried:
            raise ModelFileError(f"{source.name} tried to get out while it was read ({tried[0]}): throw it away.")
    say("done", **done)


def _write(source: Path, partial: Path, say: Say) -> dict[str, Any]:
    """Convert, and tell what was made."""
    size = source.stat().st_size
    watch = Phases(lambda share, doing: say("progress", fraction=share, doing=doing))
    watch.phase(size, "reading", HASHED_SHARE)
    is_zip(source)
    digest = sha256_of(source, watch.advance)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        found, reader, inert = _read(source, mapped)
        tensors = [_new_tensor(source, name, tensor) for name, tensor in found.tensors.items()]
        total = sum(tensor.info.size for tensor in tensors)
        if total > GROWTH * size + SMALL:
            raise ModelFileError(f"{source.name} cannot be converted: its tensors would take {total:,} bytes.")
        watch.phase(total, "writing")
        origin = {"format": "pt", "converted_from": f"{source.name}, sha256 {digest}"}
        write_tensors(partial, tensors, found.texts | origin, lambda _, count: watch.advance(count))
        count = len(tensors)
        # Views of the mapping would keep it from being closed.
        del tensors, found.tensors
    dropped = sorted(found.dropped)[:MOST_TEXTS]
    return {"tensors": count, "sha256": digest, "reader": reader, "inert": inert, "dropped": dropped}


def _read(source: Path, mapped: mmap.mmap) -> tuple[Found, str, list[str]]:
    """What the file holds, who read it, and which names stayed inert. Raises `DamagedPickle`, `ModelFileError`."""
    import torch

    # First and always: it is bounded in everything, so that torch never sees a file that lies about its sizes.
    archive = read_archive(source, mapped)
    # Only archives can be mapped by torch; the legacy format it would read into memory.
    if is_zip(source):
        try:
            with warnings.catch_warnings(action="ignore"):
                root = torch.load(str(source), weights_only=True, mmap=True, map_location="cpu")
        except Exception as refusal:  # noqa: BLE001  torch has no one type for what it refuses
            print(f"torch refuses {source.name}: {str(refusal)[:300]!r}", file=sys.stderr)
        else:
            return _found(source, root, torch.Tensor), "torch", []
    found = _found(source, archive.root, StoredTensor)
    found.tensors = {name: _mapped_tensor(archive, tensor, mapped) for name, tensor in found.tensors.items()}
    return found, "inert", sorted(archive.foreign)[:MOST_TEXTS]


def _found(source: Path, root: Any, kind: type) -> Found:
    """Look for the tensors where training scripts keep them. Raises `ModelFileError` if there are none."""
    found = Found()
    level = root
    for _ in range(DEEPEST_WRAPPER):
        if not isinstance(level, Mapping):
            break
        _note_texts(level, found.texts)
        embedding = _embedding(level, kind)
        if embedding is not None:
            found.tensors["emb_params"] = embedding
            return found
        inner = next((name for name in WRAPPERS if _is_wrapper(level.get(name), kind)), None)
        if inner is None:
            break
        found.dropped += _names(name for name, value in level.items() if name != inner and _bears(value, kind))
        level = level[inner]
    if isinstance(level, Mapping):
        for name, value in level.items():
            if isinstance(name, str) and isinstance(value, kind):
                found.tensors[name] = value
            elif _bears(value, kind):
                found.dropped += _names([name])
    if not found.tensors:
        raise ModelFileError(f"{source.name} holds no tensors that a model could be made of.")
    return found


def _bears(value: Any, kind: type) -> bool:
    """Whether it is a tensor or has some in it, one level down: who leaves it out must say so."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, kind) or any(isinstance(item, kind) for item in items)


def _is_wrapper(value: Any, kind: type) -> bool:
    return isinstance(value, Mapping) and (_bears(value, kind) or any(name in value for name in WRAPPERS))


def _names(names: Any) -> list[str]:
    return [str(name)[:LONGEST_TEXT] for name in names if isinstance(name, str)]


def _embedding(level: Mapping[Any, Any], kind: type) -> Any | None:
    """The tensor of a textual inversion of AUTOMATIC1111: ``string_to_param`` has it under its placeholder's name."""
    parameters = level.get("string_to_param")
    if isinstance(parameters, Inert) and isinstance(parameters.state, Mapping):
        parameters = parameters.state.get("_parameters")  # a ParameterDict of PyTorch before 1.12
    if not isinstance(parameters, Mapping):
        return None
    tensors = [value for value in parameters.values() if isinstance(value, kind)]
    return tensors[0] if len(tensors) == 1 else None


def _note_texts(level: Mapping[Any, Any], texts: dict[str, str]) -> None:
    for name, value in level.items():
        if len(texts) >= MOST_TEXTS:
            return
        plain = isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 2**63)
        if not (plain and isinstance(name, str)):
            continue
        text = str(value)
        if len(name) <= LONGEST_TEXT and len(text) <= LONGEST_TEXT:
            texts.setdefault(name, text)


def _mapped_tensor(archive: Archive, tensor: StoredTensor, mapped: mmap.mmap) -> "Tensor":
    """A view of the mapped file. That it stays inside was checked when the archive was read."""
    import torch

    dtype = getattr(torch, TORCH_NAMES[tensor.dtype])
    if not tensor.reach:
        return torch.empty(tensor.shape, dtype=dtype)
    elements = torch.frombuffer(mapped, dtype=dtype, count=tensor.reach, offset=archive.position(tensor))
    return elements.as_strided(tensor.shape, tensor.strides)


def _new_tensor(source: Path, name: str, tensor: "Tensor") -> NewTensor:
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or kind not in OF_TORCH:
        raise ModelFileError(
            f"{source.name} cannot be converted: {name[:80]!r} is a tensor of type {kind} on {tensor.device.type}."
        )
    dtype = OF_TORCH[kind]
    shape = tuple(tensor.shape)
    info = TensorInfo(dtype, shape, tensor.numel() * DTYPE_BITS[dtype] // 8)
    return NewTensor(name=name, info=info, pieces=lambda: _pieces(tensor))


def _pieces(tensor: "Tensor") -> Iterator[memoryview]:
    import torch

    if tensor.numel() == 0:
        return
    plain = tensor.detach().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    for begin in range(0, plain.numel(), PIECE):
        yield plain[begin : begin + PIECE].numpy().data


def task(source: Path, partial: Path, limits: Limits) -> str:
    """The argument with which this process is started."""
    return json.dumps({"source": str(source), "partial": str(partial), "limits": asdict(limits)})


if __name__ == "__main__":
    main()
