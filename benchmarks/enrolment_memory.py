"""What an enrolment of many images costs: peak memory and passes, each number of images in a process of its own.

    python -m benchmarks.enrolment_memory [--counts 200,2000] [--side 512]

Parts are drawn while they are read, so that nothing but the enrolment takes memory. Memory that grows with the number
of images would show between the rows; the bound of 2 GiB is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.vision.engines.factory import create_engine

LIMIT_MIB = 2048


@dataclass(frozen=True, slots=True)
class DrawnSource(ImageSource):
    """A part that is drawn whenever it is read."""

    side: int = 512

    def read(self) -> bytes:
        rng = np.random.default_rng(int(self.name))
        ground = rng.normal(96, 6, (self.side, self.side, 1)).repeat(3, axis=2)
        pixels = np.clip(ground, 0, 255).astype(np.uint8)
        centre = (self.side // 2 + int(rng.integers(-9, 10)), self.side // 2 + int(rng.integers(-9, 10)))
        cv2.circle(pixels, centre, self.side // 3, (170, 130, int(rng.integers(80, 120))), -1, cv2.LINE_AA)
        for hole in range(6):
            angle = hole * np.pi / 3 + rng.normal(0, 0.02)
            at = (round(centre[0] + self.side / 4 * np.cos(angle)), round(centre[1] + self.side / 4 * np.sin(angle)))
            cv2.circle(pixels, at, self.side // 24, (40, 40, 50), -1, cv2.LINE_AA)
        return bytes(cv2.imencode(".png", pixels)[1])


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(_enrolled(options.child, options.side, options.engines)))
        return
    print("| images | peak memory | passes over the images | bank | seconds |")
    print("|---|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        engines = options.engines or Path(folder)
        for count in (int(each) for each in options.counts.split(",")):
            command = [sys.executable, "-m", "benchmarks.enrolment_memory", "--child", str(count)]
            command += ["--side", str(options.side), "--engines", str(engines)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ)
            found = json.loads(done.stdout)
            worst = max(worst, found["mib"])
            passes, seconds = found["passes"], found["seconds"]
            print(
                f"| {count} | {found['mib']:.0f} MiB | {sum(passes.values()):.1f} | {passes['fit']:.1f} "
                f"| {sum(seconds.values()):.0f} |",
                flush=True,
            )
    if worst > LIMIT_MIB:
        sys.exit(f"An enrolment took {worst:.0f} MiB; {LIMIT_MIB} are the limit.")


def _enrolled(count: int, side: int, engines: Path) -> dict[str, object]:
    images = [DrawnSource(str(number), side=side) for number in range(count)]
    done = enrol("drawn", images, EnrolmentOptions(measures_detectability=True), create_engine("onnxruntime", engines))
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "mib": peak_kib / 1024,
        "passes": {phase.name: phase.passes for phase in done.evidence.phases},
        "seconds": done.report.seconds,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="200,2000", help="numbers of images, by comma")
    parser.add_argument("--side", type=int, default=512, help="of a drawn frame in pixels")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
