"""`inspector bench`: what this machine does: the backbone alone, a whole line, many products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from inspector.benching.plant import Say
    from inspector.reports.bench import BenchPage

NAME: Final = "bench"
HELP: Final = "Measure this machine: the backbone alone, a whole line beside it, many products."

app = typer.Typer(no_args_is_help=True, epilog="Example: inspector bench pipeline --cameras 4 --page bench.html")

ProfileOption = Annotated[str, typer.Option(help="fast, standard or fine: what a frame may cost.")]
HeadOption = Annotated[str, typer.Option(help="prototype (as auto), protoad or student.")]
CamerasOption = Annotated[int, typer.Option(min=1, max=256, help="Number of cameras.")]
EngineOption = Annotated[str | None, typer.Option(help="Engine of the agent; else as configured.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=0, max=256, help="Cores that the agent inspects with; 0 = all; else as configured.")
]
BrokerOption = Annotated[
    str | None, typer.Option(help="mqtt://host:port of a running broker; else a mosquitto of the bench's own.")
]
ImagesOption = Annotated[Path | None, typer.Option(help="Folder of images to enrol and to show; else parts are drawn.")]
ProductOption = Annotated[
    list[str] | None,
    typer.Option(help="Measure with a copy of this live product; --images shows it. Can be repeated."),
]
StateOption = Annotated[
    Path | None, typer.Option(help="Folder in which the bench makes its own and removes it; else in the state folder.")
]
PageOption = Annotated[Path | None, typer.Option(help="Write the figures to this file, as .html or .md.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same schedule.")]


@app.command(epilog="Example: inspector bench engine --engine onnxruntime --json")
def engine(
    *,
    engine: Annotated[
        list[str] | None, typer.Option(help="Only this engine; can be repeated. Else all that work here.")
    ] = None,
    window_s: Annotated[float, typer.Option(min=0.05, max=600, help="Seconds of each arrangement.")] = 2.0,
    batch: Annotated[str, typer.Option(metavar="LIST", help="Batches to try, separated by commas.")] = "1,2,4,8,16,32",
    profile: ProfileOption = "standard",
    head: HeadOption = "prototype",
    rounds: Annotated[int, typer.Option(min=0, max=10_000, help="Rounds of the head's parts; 0 leaves it out.")] = 60,
    product: Annotated[
        str | None, typer.Option(help="The head of a copy of this live product; else of a drawn one.")
    ] = None,
    state: StateOption = None,
    page: PageOption = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """The backbone alone in each arrangement that keeps all cores busy, and what a head costs."""
    from inspector.benching import engines, pages
    from inspector.benching.plant_setting import PlantSetting
    from inspector.config.loading import load

    request = engines.EngineRequest(
        setting=PlantSetting(
            config=load(config), profile=profile, head=head, state=state, copied=(product,) if product else ()
        ),
        names=tuple(engine or ()),
        window_s=window_s,
        batches=whole_numbers(batch, "--batch", 4096),
        rounds=rounds,
    )
    run = measured("Engines", lambda say: engines.run_engines(request, say), page, as_json)
    document = engines.document(run)
    give(document, pages.engine_page(document, run.machine), page, as_json)


@app.command(epilog="Example: inspector bench pipeline --cameras 4 --products 6 --frames 10000 --json")
def pipeline(
    *,
    cameras: CamerasOption = 4,
    agents: Annotated[
        int, typer.Option(min=1, max=64, help="Agents on this machine, which share cameras, cores and one store.")
    ] = 1,
    products: Annotated[int, typer.Option(min=1, max=64, help="Number of products that take turns.")] = 1,
    profile: ProfileOption = "standard",
    head: HeadOption = "prototype",
    windows: Annotated[int, typer.Option(min=0, max=1000, help="Windows at saturation; 0 leaves them out.")] = 5,
    window_s: Annotated[float, typer.Option(min=0.2, max=600, help="Seconds of each window.")] = 5.0,
    probe_s: Annotated[
        float, typer.Option(min=0.05, max=60, help="Seconds for which each arrangement of the backbone is tried.")
    ] = 1.0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, max=100_000, help="Frames a second of the schedule, all cameras together.")
    ] = None,
    load: Annotated[float, typer.Option(min=0.01, max=2, help="Else this share of the rate at saturation.")] = 0.5,
    frames: Annotated[int, typer.Option(min=0, max=10_000_000, help="Frames of the schedule; 0 leaves it out.")] = 2000,
    arrivals: Annotated[str, typer.Option(help="poisson or periodic.")] = "poisson",
    seed: SeedOption = 1,
    deadline_ms: Annotated[
        float, typer.Option(min=1, max=600_000, help="A part that is told later than this is a miss.")
    ] = 100.0,
    gates: Annotated[
        bool, typer.Option("--gates", help="Each camera stands at a gate whose window is the deadline.")
    ] = False,
    engine: EngineOption = None,
    threads: ThreadsOption = None,
    reference: Annotated[
        str, typer.Option(help="Engine of the bare backbone that the line is compared with.")
    ] = "onnxruntime",
    broker: BrokerOption = None,
    images: ImagesOption = None,
    product: ProductOption = None,
    state: StateOption = None,
    page: PageOption = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """A whole line, cameras to verdicts, in turn with the backbone alone; then by a schedule, for latencies."""
    from inspector.benching import pages
    from inspector.benching import pipeline as pipelines
    from inspector.benching.plant_setting import PlantSetting
    from inspector.config import loading

    request = pipelines.PipelineRequest(
        setting=PlantSetting(
            config=loading.load(config),
            cameras=cameras,
            agents=agents,
            products=products,
            profile=profile,
            head=head,
            engine=engine,
            threads=threads,
            broker=broker,
            images=images,
            copied=tuple(product or ()),
            state=state,
            gate_window_ms=deadline_ms if gates else None,
        ),
        windows=windows,
        window_s=window_s,
        probe_s=probe_s,
        rate_fps=rate,
        load=load,
        frames=frames,
        arrivals=arrivals_named(arrivals),
        seed=seed,
        deadline_ms=deadline_ms,
        reference=reference,
    )
    run = measured("Line", lambda say: pipelines.run_pipeline(request, say), page, as_json)
    document = pipelines.document(run)
    give(document, pages.pipeline_page(document, run.machine), page, as_json)


@app.command(epilog="Example: inspector bench products --counts 1,200 --rounds 5")
def products(
    *,
    counts: Annotated[
        str, typer.Option(metavar="LIST", help="Numbers of products, separated by commas.")
    ] = "1,10,50,200",
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds in which the counts take turns.")] = 3,
    frames: Annotated[int, typer.Option(min=1, max=1_000_000, help="Frames for each count in each round.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, max=100_000, help="Frames a second, all cameras together.")] = 10.0,
    cameras: CamerasOption = 4,
    profile: ProfileOption = "fast",
    head: HeadOption = "prototype",
    seed: SeedOption = 1,
    engine: EngineOption = None,
    threads: ThreadsOption = None,
    broker: BrokerOption = None,
    images: ImagesOption = None,
    product: Annotated[
        str | None, typer.Option(help="Measure with copies of this live product; --images shows it.")
    ] = None,
    state: StateOption = None,
    page: PageOption = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    """What more enrolled products cost a frame, and how much memory each of them takes."""
    from inspector.benching import pages
    from inspector.benching import products as of_products
    from inspector.benching.plant_setting import PlantSetting
    from inspector.config.loading import load

    request = of_products.ProductsRequest(
        setting=PlantSetting(
            config=load(config),
            cameras=cameras,
            profile=profile,
            head=head,
            engine=engine,
            threads=threads,
            broker=broker,
            images=images,
            copied=(product,) if product else (),
            state=state,
        ),
        counts=whole_numbers(counts, "--counts", 2000),
        rounds=rounds,
        frames=frames,
        rate_fps=rate,
        seed=seed,
    )
    run = measured("Products", lambda say: of_products.run_products(request, say), page, as_json)
    document = of_products.document(run)
    give(document, pages.products_page(document, run.machine), page, as_json)


def measured(title: str, work: Callable[[Say], Coroutine[Any, Any, Any]], page: Path | None, as_json: bool) -> Any:
    from inspector.agent.telemetry import configure_logging
    from inspector.domain import printable
    from inspector.errors import UsageError
    from inspector.lifetime import run_to_end
    from inspector.operation.report_page import ensure_page
    from inspector.reports.bench import FORMS

    ensure_page(page)
    if page is not None and page.suffix.lower() not in FORMS:
        raise UsageError(f"The page {printable(str(page))} is of no known form; its name ends in {' or '.join(FORMS)}.")
    configure_logging("error")  # the error at the end says what was wrong with a connection
    with console.progress(title, quiet=as_json) as tell:
        return run_to_end(work(tell))


def give(document: Mapping[str, Any], shown: BenchPage, page: Path | None, as_json: bool) -> None:
    from inspector.benching.commands import write_page
    from inspector.cli.terminal.bench_view import print_page

    if as_json:
        console.print_json(document)
    else:
        print_page(shown, page)
    if page is not None:
        write_page(shown, page)


def arrivals_named(text: str) -> Any:
    from inspector.benching.schedule import Arrivals
    from inspector.errors import UsageError

    try:
        return Arrivals(text.lower())
    except ValueError:
        raise UsageError(f"--arrivals {text!r} is none of {', '.join(Arrivals)}.") from None


def whole_numbers(text: str, option: str, most: int) -> tuple[int, ...]:
    """Distinct whole numbers from 1 on, ascending. Raises UsageError."""
    from inspector.errors import UsageError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) <= 9 and 1 <= int(word) <= most for word in words):
        raise UsageError(f"{option} {text!r} is no list of whole numbers from 1 to {most}, such as 1,10,50.")
    return tuple(sorted({int(word) for word in words}))
