"""`inspector capacity`: the highest rate at which 99.9 % of parts are in time on this machine."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from inspector.cli import bench
from inspector.cli.terminal import console

NAME: Final = "capacity"
HELP: Final = "Find the highest rate at which 99.9 % of parts are in time on this machine, and keep it for `doctor`."
EXAMPLE: Final = "Example: inspector capacity --deadline-ms 50 --cameras 2"


def command(
    *,
    deadline_ms: Annotated[
        float, typer.Option(min=1, max=60_000, help="Longest time from capture to decision: a gate's window.")
    ],
    cameras: Annotated[
        int | None, typer.Option(min=1, max=256, help="Number of cameras; else as many as are configured, or 1.")
    ] = None,
    products: Annotated[int, typer.Option(min=1, max=64, help="Number of products that take turns.")] = 1,
    profile: bench.ProfileOption = "standard",
    head: bench.HeadOption = "prototype",
    frames: Annotated[
        int,
        typer.Option(
            min=10, max=10_000_000, help="Frames at each rate that is tried; under 1000, all must be in time."
        ),
    ] = 2000,
    rate: Annotated[
        float | None,
        typer.Option(min=0.5, max=20_000, help="Rate to begin with; else half of what is decided at most."),
    ] = None,
    arrivals: Annotated[str, typer.Option(help="periodic or poisson.")] = "periodic",
    seed: bench.SeedOption = 1,
    engine: bench.EngineOption = None,
    threads: bench.ThreadsOption = None,
    broker: bench.BrokerOption = None,
    images: bench.ImagesOption = None,
    product: bench.ProductOption = None,
    keep: Annotated[
        bool, typer.Option(help="Keep the result in the state folder, where run and doctor read it.")
    ] = True,
    state: bench.StateOption = None,
    page: bench.PageOption = None,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.benching import capacity as capacities
    from inspector.benching import pages
    from inspector.benching.plant_setting import PlantSetting
    from inspector.config.loading import load
    from inspector.operation.capacity import keep_capacity

    loaded = load(config)
    request = capacities.CapacityRequest(
        setting=PlantSetting(
            config=loaded,
            cameras=cameras or len(loaded.camera) or 1,
            products=products,
            profile=profile,
            head=head,
            engine=engine,
            threads=threads,
            broker=broker,
            images=images,
            copied=tuple(product or ()),
            state=state,
        ),
        deadline_ms=deadline_ms,
        frames=frames,
        arrivals=bench.arrivals_named(arrivals),
        seed=seed,
        start_fps=rate,
    )
    run = bench.measured("Capacity", lambda say: capacities.run_capacity(request, say), page, as_json)
    found = capacities.kept(run)
    kept_in = str(keep_capacity(loaded.agent.state_dir, found)) if keep else None
    document = capacities.document(run, found, kept_in)
    bench.give(document, pages.capacity_page(document, run.machine), page, as_json)
    if kept_in is not None and not as_json:
        console.err.print(f"kept in {kept_in}", highlight=False, markup=False, soft_wrap=True)
