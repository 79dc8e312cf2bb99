"""What a person asks for when a product is to be enrolled, in the words of the command line, and how it is done.

Words are checked and turned into options before the first minute of work. Frames of a running camera are collected
next; then the product is enrolled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.config.config import Config
from inspector.domain import printable
from inspector.enrolment.enrol_product import Enrolled, EnrolmentOrder, enrol_product, ensure_name
from inspector.enrolment.enrolled_images import folder_of
from inspector.enrolment.low_priority import Progress
from inspector.errors import UsageError
from inspector.files import MOST_IMAGE_BYTES, read_regular
from inspector.operation.cameras import decode_limits
from inspector.operation.report_page import ensure_page
from inspector.training.choice.exposure import parse_exposure
from inspector.training.dataset.folders import ImageSource, NotTaken, listed, load_paths
from inspector.training.dataset.framing import Framing, parse_roi, parse_tiles
from inspector.training.enrol import EnrolmentOptions
from inspector.training.heads.factory import one_profile
from inspector.training.statistics.calibrating import ALPHA, parse_overkill
from inspector.vision.networks.backbone import named_backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest:
    """One enrolment. None stands for what the person left out.

    `by`: the user, for the audit. `images`: files and folders. `camera`: whose bit depth, black level and limits apply;
    with `count`, that many of its frames are collected, until none has come for `idle_s` seconds. `tiles`, `roi`,
    `exposure` and `overkill` as typed. `named`: those of `inherited_options.NAMEABLE` that the person named. The others
    are as in `EnrolmentOrder` and `EnrolmentOptions`.
    """

    product: str
    by: str
    images: tuple[Path, ...] = ()
    camera: str | None = None
    count: int | None = None
    idle_s: float = 60.0
    head: str = "prototype"
    profile: str = "standard"
    tiles: str | None = None
    roi: str | None = None
    mask: Path | None = None
    exposure: str = "auto"
    input_px: int | None = None
    backbone: str | None = None
    weights: Path | None = None
    clustering: str | None = None
    overkill: str | None = None
    excluded: tuple[str, ...] = ()
    adds: bool = False
    is_strict: bool = False
    measures_detectability: bool = True
    at_low_priority: bool = True
    shadow: bool = False
    insists: bool = False
    with_reviews: bool = False
    page: Path | None = None
    named: frozenset[str] = frozenset()


def _nothing_to_say(_count: int, _folder: Path) -> None:
    return None


async def enrol_on_request(
    config: Config,
    request: EnrolmentRequest,
    progress: Progress,
    on_frames: Callable[[int, Path], None] = _nothing_to_say,
) -> Enrolled:
    """Enrol as requested. `on_frames` is called with the number of frames saved from the camera and their folder.

    Raises UsageError before any work if the request can't be carried out. During the work it raises as
    `collect_frames` and `enrol_product` do.
    """
    ensure_name(request.product)
    ensure_page(request.page)
    if request.with_reviews and not request.measures_detectability:
        raise UsageError("--with-reviews draws defects too, to see that no bad part was called good; leave it on.")
    offered = await asyncio.to_thread(load_paths, request.images)
    if request.is_strict and (refused := offered.refused):
        rest = f" ({len(refused)} in all)" if len(refused) > 1 else ""
        raise UsageError(f"{refused[0].name}: {refused[0].reason}{rest}; --strict asks that nothing is enrolled then.")
    sources = list(offered.images)
    options = _options(config, request)
    if request.count is not None:
        sources += await _camera_frames(config, request, request.count, progress, on_frames)
    if not sources and offered.not_taken:
        raise UsageError(f"Nothing of what was named is taken as an image: {listed(offered.not_taken)}.")
    if not sources and not _adds(request):
        raise UsageError("Name good images, or take them from a running camera with --camera and --count.")
    return await enrol_product(config, request.product, sources, options, _order(request, offered.not_taken), progress)


def _adds(request: EnrolmentRequest) -> bool:
    """Whether the images of the live version come first: reviews alone are no whole set of good images."""
    return request.adds or (request.with_reviews and not request.images and request.count is None)


def _options(config: Config, request: EnrolmentRequest) -> EnrolmentOptions:
    head, profile = request.head, request.profile
    if "profile" in request.named and one_profile(head) not in (None, profile):
        raise UsageError(f"The head {head} comes in one profile, {one_profile(head)}; leave --profile out.")
    return EnrolmentOptions(
        head=head,
        profile=profile,
        framing=_framing(request),
        backbone=named_backbone(request.backbone, request.weights),
        clustering=request.clustering,
        exposure=parse_exposure(request.exposure),
        alpha=ALPHA if request.overkill is None else parse_overkill(request.overkill),
        is_strict=request.is_strict,
        measures_detectability=request.measures_detectability,
        limits=decode_limits(config, request.camera),
    )


def _framing(request: EnrolmentRequest) -> Framing:
    where, is_px = parse_roi(request.roi) if request.roi else (None, False)
    try:
        mask = read_regular(request.mask, MOST_IMAGE_BYTES, follows_links=True) if request.mask else None
    except OSError as error:
        name = printable(str(request.mask))
        raise UsageError(f"The mask {name} can't be read ({error.strerror or error}).") from error
    return Framing(parse_tiles(request.tiles) if request.tiles else (1, 1), where, is_px, mask, request.input_px)


def _order(request: EnrolmentRequest, not_taken: Sequence[NotTaken]) -> EnrolmentOrder:
    return EnrolmentOrder(
        by=request.by,
        shadow=request.shadow,
        adds=_adds(request),
        page=request.page,
        not_taken=tuple(not_taken),
        excluded=request.excluded,
        at_low_priority=request.at_low_priority,
        insists=request.insists,
        with_reviews=request.with_reviews,
        named=request.named,
    )


async def _camera_frames(
    config: Config, request: EnrolmentRequest, count: int, progress: Progress, on_frames: Callable[[int, Path], None]
) -> list[ImageSource]:
    # Imported here: it loads the composition root, which costs a running line time that most enrolments need not take.
    from inspector.enrolment.camera_frames import FrameRequest, collect_frames, folder_for

    if request.camera is None:
        raise UsageError("--count takes frames from a running camera; name it with --camera.")
    folder = folder_for(folder_of(config.agent.state_dir, request.product), request.camera)
    files = await collect_frames(config, FrameRequest(request.camera, count, folder, request.idle_s), progress)
    on_frames(len(files), folder)
    return [ImageSource.of(file) for file in files]
