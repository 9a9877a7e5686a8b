"""Pickled model files that tests write: the layouts that people own, and files that try to run something or lie.

The hostile ones are written opcode by opcode, because an honest writer would not write them.
"""

import struct
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.model_manager.conversion.torch_archive import LEGACY_MAGIC

Tensors = Mapping[str, Tensor]


def state_dict(seed: int = 0) -> dict[str, Tensor]:
    """Tensors of several types and forms: in halves, whole numbers, empty, a scalar, transposed, two that share."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(33, 17, generator=generator)
    return {
        "model.weight": base,
        "model.transposed": base.half().t(),
        "model.tied": base,
        "model.part": base[3:9, ::2],
        "model.bias": torch.randn(7, generator=generator).bfloat16(),
        "model.position_ids": torch.arange(77).expand(1, -1),
        "model.mask": torch.tensor([True, False, True]),
        "model.scale": torch.tensor(0.25, dtype=torch.float64),
        "model.none": torch.empty(0, 4),
    }


def write_plain(path: Path, tensors: Tensors) -> None:
    """A checkpoint as `torch.save` writes it today."""
    torch.save({"state_dict": dict(tensors), "global_step": 470000, "epoch": 11}, path)


def write_legacy(path: Path, tensors: Tensors) -> None:
    """The same in the format before PyTorch 1.6, without a zip archive."""
    saved = {"state_dict": dict(tensors), "global_step": 470000, "epoch": 11}
    torch.save(saved, path, _use_new_zipfile_serialization=False)


def write_lightning(path: Path, tensors: Tensors, *, legacy: bool = False) -> None:
    """What PyTorch Lightning 1.x left: callbacks by their class, NumPy scalars, hyperparameters, the optimiser."""
    with _module("pytorch_lightning.callbacks", "ModelCheckpoint", "AttributeDict") as (callback, hyper):
        parameters = hyper()
        parameters.learning_rate = 1e-4
        saved = {
            "epoch": 11,
            "global_step": 470000,
            "pytorch-lightning_version": "1.4.2",
            "state_dict": dict(tensors),
            "callbacks": {callback: {"best_model_score": np.float64(0.25), "monitor": "val/loss"}},
            "optimizer_states": [{"state": {0: {"step": 3, "exp_avg": torch.ones(4)}}, "param_groups": []}],
            "lr_schedulers": [],
            "hyper_parameters": parameters,
        }
        torch.save(saved, path, _use_new_zipfile_serialization=not legacy)


def write_textual_inversion(path: Path, embedding: Tensor, *, as_module: bool = False) -> None:
    """An embedding of AUTOMATIC1111, `as_module` with the parameter container of PyTorch before 1.12."""
    parameter = nn.Parameter(embedding.clone())
    parameters = nn.ParameterDict({"*": parameter}) if as_module else {"*": parameter}
    saved = {"string_to_token": {"*": 265}, "string_to_param": parameters, "name": "my style", "step": 999}
    torch.save(saved | {"sd_checkpoint": None, "sd_checkpoint_name": None}, path)


def write_upscaler(path: Path, averaged: Tensors, last: Tensors) -> None:
    """An ESRGAN as its training writes it."""
    torch.save({"params": dict(last), "params_ema": dict(averaged)}, path)


@contextmanager
def _module(name: str, *classes: str) -> Iterator[list[type]]:
    """A module that is there for as long as something of it is saved."""
    modules = {part: types.ModuleType(part) for part in (name.partition(".")[0], name)}
    made = [type(each, (), {"__module__": name}) for each in classes]
    for each in made:
        setattr(modules[name], each.__name__, each)
    sys.modules.update(modules)
    try:
        yield made
    finally:
        for part in modules:
            del sys.modules[part]


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What a payload would leave: a file, or a connection to a port of this machine."""

    file: Path
    port: int

    @property
    def command(self) -> bytes:
        return b"touch " + str(self.file).encode()


# The opcodes used below, by the names of `pickletools`.
PROTO, STOP, MARK, REDUCE, BUILD, OBJ, NEWOBJ, NEWOBJ_EX = b"\x80\x02", b".", b"(", b"R", b"b", b"o", b"\x81", b"\x92"
STACK_GLOBAL, BINPERSID, EMPTY_DICT, EMPTY_LIST, NONE, SETITEM = b"\x93", b"Q", b"}", b"]", b"N", b"s"
TUPLE, TUPLE1, TUPLE2, TUPLE3, EMPTY_TUPLE, APPEND, POP = b"t", b"\x85", b"\x86", b"\x87", b")", b"a", b"0"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n)R"


def name(module: bytes, attribute: bytes) -> bytes:
    return b"c" + module + b"\n" + attribute + b"\n"


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    return MARK + b"".join(number(value) for value in values) + TUPLE


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + MARK + b"".join(arguments) + TUPLE + REDUCE


def storage(key: bytes = b"0", count: int = 4, kind: bytes = b"FloatStorage") -> bytes:
    parts = text(b"storage") + name(b"torch", kind) + text(key) + text(b"cpu") + number(count)
    return MARK + parts + TUPLE + BINPERSID


def tensor(stored: bytes, *, offset: int = 0, shape: bytes = numbers(4), strides: bytes = numbers(1)) -> bytes:
    return call(REBUILD, stored, number(offset), shape, strides, b"\x89", ORDERED)


def honest() -> bytes:
    return tensor(storage())


def entry(key: bytes, value: bytes) -> bytes:
    return text(key) + value + SETITEM


def write_archive(path: Path, pickle: bytes, *, count: int = 4) -> None:
    """A zip archive of `torch.save`'s layout with one storage of `count` floats."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PROTO + pickle + STOP)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", struct.pack(f"<{count}f", *range(count)))
        archive.writestr("archive/version", b"3\n")


def write_old(path: Path, pickle: bytes, *, system: bytes = b"", keys: bytes = b"", data: bytes = b"") -> None:
    """The legacy layout around `pickle`; by default with one storage of four floats."""
    system = system or EMPTY_DICT + entry(b"little_endian", b"\x88")
    keys = keys or EMPTY_LIST + text(b"0") + APPEND
    data = data or struct.pack("<q4f", 4, *range(4))
    pickles = [number(LEGACY_MAGIC), number(1001), system, pickle, keys]
    path.write_bytes(b"".join(PROTO + each + STOP for each in pickles) + data)


def payloads(canary: Canary) -> dict[str, bytes]:
    """Pickles that would run something in a reader that does what they say."""
    command = text(canary.command)
    system = name(b"os", b"system")
    python = f"__import__('os').system({canary.command.decode()!r})".encode()
    connect = f"import socket; socket.create_connection(('127.0.0.1', {canary.port}))".encode()
    return {
        "os.system": call(system, command),
        "posix.system": call(name(b"posix", b"system"), command),
        "builtins.eval": call(name(b"builtins", b"eval"), text(python)),
        "builtins.exec": call(name(b"builtins", b"exec"), text(connect)),
        "Python 2's eval": call(name(b"__builtin__", b"eval"), text(python)),
        "subprocess.Popen": call(
            name(b"subprocess", b"Popen"),
            EMPTY_LIST + text(b"touch") + APPEND + text(str(canary.file).encode()) + APPEND,
        ),
        "socket": call(name(b"socket", b"create_connection"), text(b"127.0.0.1") + number(canary.port) + TUPLE2),
        "pkgutil.resolve_name": call(call(name(b"pkgutil", b"resolve_name"), text(b"os:system")), command),
        "getattr chain": call(call(name(b"builtins", b"getattr"), name(b"os", b"path"), text(b"os")), command),
        "torch.load": call(name(b"torch.serialization", b"load"), text(str(canary.file).encode())),
        "INST": MARK + command + b"ios\nsystem\n",
        "OBJ": MARK + system + command + OBJ,
        "NEWOBJ": system + command + TUPLE1 + NEWOBJ,
        "NEWOBJ_EX": system + command + TUPLE1 + EMPTY_DICT + NEWOBJ_EX,
        "STACK_GLOBAL": text(b"os") + text(b"system") + STACK_GLOBAL + command + TUPLE1 + REDUCE,
        "EXT": b"\x82\x01" + command + TUPLE1 + REDUCE,
        "BUILD": ORDERED + EMPTY_DICT + entry(b"__setstate__", system) + BUILD + command + BUILD,
        "BUILD of a class": name(b"collections", b"OrderedDict")
        + NONE
        + EMPTY_DICT
        + entry(b"pop", system)
        + TUPLE2
        + BUILD,
        "persistent id": call(system, command) + BINPERSID,
        "persistent text": b"P" + canary.command + b"\n",
        "class of a storage": tensor(
            MARK + text(b"storage") + call(system, command) + text(b"0") + text(b"cpu") + number(4) + TUPLE + BINPERSID
        ),
        "maker of a tensor": call(
            name(b"torch._tensor", b"_rebuild_from_type_v2"), system, NONE, command + TUPLE1, EMPTY_DICT
        ),
        "beside a state dict": EMPTY_DICT
        + entry(b"state_dict", EMPTY_DICT + entry(b"model.weight", honest()))
        + entry(b"callbacks", call(system, command)),
        "inside a state dict": EMPTY_DICT
        + entry(
            b"state_dict",
            EMPTY_DICT + entry(b"model.weight", honest()) + entry(b"model.bias", call(system, command)),
        ),
        "hooks of a tensor": EMPTY_DICT
        + entry(b"w", call(REBUILD, storage(), number(0), numbers(4), numbers(1), b"\x89", call(system, command))),
    }


def lies() -> dict[str, bytes]:
    """Pickles that describe what is not there, or that are larger than they look."""
    expanded = tensor(storage(), shape=numbers(2**20, 2**20), strides=numbers(0, 0))
    nested = EMPTY_LIST * 200_000 + APPEND * 199_999
    laughs = EMPTY_TUPLE + b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + TUPLE2 for k in range(60))
    return {
        "storage too long": EMPTY_DICT + entry(b"w", tensor(storage(count=2**40), shape=numbers(2**40))),
        "storage of negative length": EMPTY_DICT + entry(b"w", tensor(storage(count=-1))),
        "storage that is not there": EMPTY_DICT + entry(b"w", tensor(storage(b"7"))),
        "storage outside": EMPTY_DICT + entry(b"w", tensor(storage(b"../../etc/passwd"))),
        "storage of no known type": EMPTY_DICT + entry(b"w", tensor(storage(kind=b"QInt8Storage"))),
        "tensor beyond its storage": EMPTY_DICT + entry(b"w", tensor(storage(), shape=numbers(5))),
        "offset beyond": EMPTY_DICT + entry(b"w", tensor(storage(), offset=2**62)),
        "negative offset": EMPTY_DICT + entry(b"w", tensor(storage(), offset=-4)),
        "negative stride": EMPTY_DICT + entry(b"w", tensor(storage(), strides=numbers(-1))),
        "stride beyond": EMPTY_DICT + entry(b"w", tensor(storage(), strides=numbers(2**40))),
        "huge shape": EMPTY_DICT
        + entry(b"w", tensor(storage(), shape=numbers(*[2**40] * 9), strides=numbers(*[0] * 9))),
        "shape without strides": EMPTY_DICT + entry(b"w", tensor(storage(), strides=numbers())),
        "shape no numbers": EMPTY_DICT + entry(b"w", tensor(storage(), shape=text(b"4") + TUPLE1)),
        "expanded to terabytes": EMPTY_DICT + entry(b"w", expanded),
        "huge LONG4": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"1",
        "negative LONG4": b"\x8b" + struct.pack("<i", -5) + b"12345",
        "huge BINBYTES8": b"\x8e" + struct.pack("<Q", 2**62) + b"1",
        "huge BINUNICODE8": b"\x8d" + struct.pack("<Q", 2**63 - 1) + b"1",
        "huge BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**40) + b"1",
        "huge FRAME": b"\x95" + struct.pack("<Q", 2**50) + NONE,
        "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
        "a step of a million bits": EMPTY_DICT
        + entry(b"w", honest())
        + entry(b"global_step", b"\x8b" + struct.pack("<i", 125_000) + b"\x7f" * 125_000),
        "lists in lists": nested,
        "a dict in itself": EMPTY_DICT + b"q\x00" + entry(b"state_dict", b"h\x00"),
        "a key without end": EMPTY_DICT + laughs + honest() + SETITEM,
        "three million lists": EMPTY_LIST * 3_000_000,
        "pop from nothing": POP,
        "an unknown opcode": b"\xff",
        "memo of nothing": b"h\x07",
        "no end": EMPTY_DICT + b"X" + struct.pack("<I", 100) + b"cut",
        "no tensors": EMPTY_DICT + entry(b"state_dict", EMPTY_DICT) + entry(b"epoch", number(3)),
        "a tensor called metadata": EMPTY_DICT + entry(b"__metadata__", honest()),
    }


def _bomb(path: Path, canary: Canary) -> None:  # noqa: ARG001  the table's signature
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", PROTO + EMPTY_DICT + entry(b"w", honest()) + STOP)
        archive.writestr("archive/data/0", b"\0" * 100_000_000)


def _overlapping(path: Path, canary: Canary) -> None:  # noqa: ARG001
    """Many records of the table share the same bytes of the file."""
    write_archive(path, EMPTY_DICT + entry(b"w", honest()))
    with zipfile.ZipFile(path, "a") as archive:
        for k in range(1, 500):
            info = zipfile.ZipInfo(f"archive/data/{k}")
            info.header_offset = archive.getinfo("archive/data/0").header_offset
            info.file_size = info.compress_size = 16
            info.CRC = 0
            archive.filelist.append(info)
        archive._didModify = True  # pyright: ignore[reportAttributeAccessIssue]  no other way to make it write a lie


def _crowded(path: Path, canary: Canary) -> None:  # noqa: ARG001
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(100_001):
            archive.writestr(zipfile.ZipInfo(f"a/{k}"), b"")


def _with_names(*names: str) -> Callable[[Path, Canary], None]:
    def write(path: Path, canary: Canary) -> None:
        pickle = PROTO + call(name(b"os", b"system"), text(canary.command)) + STOP
        with zipfile.ZipFile(path, "w") as archive:
            for each in names:
                archive.writestr(each, pickle)

    return write


def _program(path: Path, canary: Canary) -> None:  # noqa: ARG001
    """As `torch.jit.save` lays it out: the code beside the pickles."""
    write_archive(path, name(b"__torch__", b"Model") + EMPTY_TUPLE + NEWOBJ)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/code/__torch__.py", b"class Model(Module):\n  pass\n")
        archive.writestr("archive/constants.pkl", PROTO + EMPTY_TUPLE + STOP)


def _cut(path: Path, canary: Canary) -> None:  # noqa: ARG001
    write_plain(path, state_dict())
    path.write_bytes(path.read_bytes()[:-100])


def _tar(path: Path, canary: Canary) -> None:
    inner = path.with_suffix(".inner")
    write_archive(inner, payloads(canary)["os.system"])
    with tarfile.open(path, "w") as archive:
        archive.add(inner, "data.pkl")
    inner.unlink()


def _bare(path: Path, canary: Canary) -> None:
    path.write_bytes(PROTO + payloads(canary)["os.system"] + STOP)


CONTAINERS: Mapping[str, Callable[[Path, Canary], None]] = {
    "a compressed archive": _bomb,
    "records on top of each other": _overlapping,
    "a hundred thousand records": _crowded,
    "a way out": _with_names("../../../tmp/data.pkl"),
    "an absolute name": _with_names("/data.pkl", "/data/0"),
    "two pickles": _with_names("a/data.pkl", "b/data.pkl"),
    "a TorchScript program": _program,
    "an archive cut short": _cut,
    "a tar archive": _tar,
    "a 7z archive": lambda path, _: void(path.write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 600)),
    "a bare pickle": _bare,
    "only a beginning": lambda path, _: void(path.write_bytes(b"PK\x03\x04")),
    "no pickle at all": lambda path, _: void(path.write_bytes(b"\x80\x02" + b"nothing" * 100)),
}


def void(_: object) -> None:
    """Where a table wants functions that return nothing."""


def write_hostile(folder: Path, canary: Canary) -> dict[str, Path]:
    """All of them, as files, by what they are; each payload in both layouts."""
    files: dict[str, Path] = {}

    def path(kind: str) -> Path:
        files[kind] = folder / f"hostile-{len(files)}.ckpt"
        return files[kind]

    for kind, pickle in payloads(canary).items():
        write_archive(path(kind), pickle)
    for kind in ("os.system", "beside a state dict"):
        write_old(path(f"{kind}, legacy"), payloads(canary)[kind])
    system = EMPTY_DICT + entry(b"little_endian", b"\x88") + entry(b"x", payloads(canary)["os.system"])
    write_old(path("in the system's sizes, legacy"), EMPTY_DICT + entry(b"w", honest()), system=system)
    for kind, pickle in lies().items():
        write_archive(path(kind), pickle)
    write_old(
        path("longer than told, legacy"), EMPTY_DICT + entry(b"w", honest()), data=struct.pack("<q4f", 5, *range(4))
    )
    wide = EMPTY_DICT + entry(b"w", tensor(storage(count=2**40), shape=numbers(2**40)))
    write_old(path("storage too long, legacy"), wide, data=struct.pack("<q4f", 2**40, *range(4)))
    write_old(path("no data, legacy"), EMPTY_DICT + entry(b"w", honest()), keys=EMPTY_LIST, data=b"\0")
    for kind, write in CONTAINERS.items():
        write(path(kind), canary)
    return files
