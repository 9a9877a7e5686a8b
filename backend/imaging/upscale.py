"""Pictures made larger: by interpolation, or by a network in tiles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image

from backend.errors import InvalidRequest, ModelFileError, unknown_name
from backend.imaging.tiles import OnTile, count, in_rgb, in_tiles
from backend.init_image import LATENT_UPSCALERS
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.model_index import FileKey
from backend.sampling.lookup import Table

if TYPE_CHECKING:
    import torch

    from backend.upscaling.network import Network

NONE = "None"  # A1111's word: only brought to the size
# A1111's names; the first two differ in nothing here.
INTERPOLATIONS: Mapping[str, Image.Resampling] = MappingProxyType(
    {NONE: Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
)


@dataclass(frozen=True, kw_only=True)
class Enlarger:
    """A way of enlarging that an extension brings: from a picture in RGB and a width and a height to one of that
    size."""

    name: str
    enlarge: Callable[[Image.Image, int, int], Image.Image]
    aliases: tuple[str, ...] = ()


# Those of extensions that are on.
ENLARGERS: Table[Enlarger] = Table("upscaler", reserved=(*INTERPOLATIONS, *LATENT_UPSCALERS))
TILE = 192  # pixels of the picture that a network sees at once, A1111's default
OVERLAP = 8
MOST_PASSES = 3  # A1111's limit
MOST_LOADED = 2  # networks, as two can be blended


@dataclass(frozen=True)
class _Pass:
    """One enlargement by the network: what it begins with, and what it is brought to."""

    before: tuple[int, int]
    after: tuple[int, int]


class Upscalers:
    """What can enlarge a picture: ``None``, ``Lanczos``, ``Nearest``, what extensions bring, and every usable file of
    kind UPSCALER in the catalog, by its name there.

    `names` and `exact` may be asked from any thread, and need no torch; the rest belongs to the thread that owns the
    device. Up to two networks stay loaded until `close`.
    """

    def __init__(self, catalog: Catalog, device: "torch.device | Callable[[], torch.device]"):
        """`device` is what the networks compute on, or is asked for it when one is loaded."""
        self._catalog = catalog
        self._device = device
        self._loaded: dict[FileKey, Network] = {}  # the one not used for the longest first

    def names(self) -> list[str]:
        """Every name that `upscale` takes, interpolations first."""
        return [*INTERPOLATIONS, *ENLARGERS, *self._catalog.names(Kind.UPSCALER)]

    def exact(self, name: str) -> str:
        """The name as `names` spells it. Raises `UserError` for one that is not known or cannot be used."""
        wanted = name.strip().casefold()
        plain = next((each for each in (*INTERPOLATIONS, *ENLARGERS) if each.casefold() == wanted), None)
        if plain:
            return plain
        if not wanted:  # which would mean the first there is
            raise InvalidRequest(f"An upscaler must be named: {', '.join(self.names())}.")
        try:
            return self._catalog.find(name, Kind.UPSCALER).name
        except ModelFileError as error:
            records = self._catalog.records(Kind.UPSCALER)
            if any(wanted in (each.name.casefold(), each.path.name.casefold()) for each in records):
                raise  # it is there, and says what is wrong with it
            ENLARGERS.refuse_gone(name)
            raise InvalidRequest(unknown_name("upscaler", name, self.names())) from error

    def upscale(
        self,
        picture: Image.Image,
        name: str,
        width: int,
        height: int,
        *,
        tile: int = TILE,
        overlap: int = OVERLAP,
        on_tile: OnTile | None = None,
    ) -> Image.Image:
        """`picture` at exactly `width` x `height` pixels, in RGB, or in RGBA if it has an alpha channel.

        A network runs as often as its factor needs to reach the size (at most three times, as in A1111), and Lanczos
        does the rest, up or down; the alpha channel is always enlarged by Lanczos. A network sees squares of `tile`
        pixels that share `overlap`, so that its memory is that of one tile, whatever the picture. A picture that gets
        smaller is only reduced. `on_tile(done, of)` is told of each tile, and may raise to stop. Raises `UserError` for
        an unknown name or a file that cannot be read or used.
        """
        name = self.exact(name)
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        colours = in_rgb(picture)
        if name in INTERPOLATIONS:
            enlarged = colours.resize((width, height), INTERPOLATIONS[name])
            if on_tile:
                on_tile(1, 1)
        elif name in ENLARGERS:
            enlarged = ENLARGERS[name].enlarge(colours, width, height)
            if on_tile:
                on_tile(1, 1)
        else:
            enlarged = self._by_network(colours, self._network(name), (width, height), (tile, overlap), on_tile)
        if alpha is not None:
            enlarged.putalpha(alpha.resize((width, height), Image.Resampling.LANCZOS))
        return enlarged

    def close(self) -> None:
        """Let the networks go; the next picture loads what it needs."""
        self._loaded.clear()

    def _by_network(
        self,
        picture: Image.Image,
        network: "Network",
        size: tuple[int, int],
        cut: tuple[int, int],
        on_tile: OnTile | None,
    ) -> Image.Image:
        (tile, overlap), done = cut, 0
        passes = list(_passes(picture.size, network.factor, size))
        tiles = [count(*each.before, (tile, tile), overlap) for each in passes]
        for each, many in zip(passes, tiles, strict=True):

            def tell(now: int, _of: int, before: int = done) -> None:
                if on_tile:
                    on_tile(before + now, sum(tiles))

            picture = in_tiles(
                picture,
                lambda part, _index: network(part),
                tile=(tile, tile),
                overlap=overlap,
                size=each.after,
                on_tile=tell,
            )
            done += many
        return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)

    def _network(self, name: str) -> "Network":
        from backend.upscaling.network import Network

        record = self._catalog.find(name, Kind.UPSCALER)
        network = self._loaded.pop(record.key, None)
        if network is None:
            while len(self._loaded) >= MOST_LOADED:
                del self._loaded[next(iter(self._loaded))]
            network = Network(record.path, self._device() if callable(self._device) else self._device)
        self._loaded[record.key] = network
        return network


def _passes(picture: tuple[int, int], factor: int, size: tuple[int, int]) -> list[_Pass]:
    """How often a network of that factor runs for a size, and on what.

    One that does not enlarge runs once, to restore, unless the picture gets smaller; so does any other where the
    picture keeps its size. The last pass gives the size that is wanted, so that nothing larger is ever held.
    """
    smaller = size[0] <= picture[0] and size[1] <= picture[1] and size != picture
    needed = 0 if smaller else 1
    while (
        needed
        and factor > 1
        and needed < MOST_PASSES
        and any(side * factor**needed < wanted for side, wanted in zip(picture, size, strict=True))
    ):
        needed += 1
    before = [(picture[0] * factor**k, picture[1] * factor**k) for k in range(needed)]
    return [_Pass(now, then) for now, then in zip(before, [*before[1:], size], strict=True)] if needed else []
