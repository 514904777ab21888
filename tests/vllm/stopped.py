"""A program: computes a step of a run once more, in another folder; stops after one iteration, and goes on.

Its arguments are the run's folder, the step's name, and the folder to work in."""

from __future__ import annotations

import sys
from pathlib import Path

from accord.errors import Interrupted
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.run import _input
from accord.steps.base import Job
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace


def main(run: Path, name: str, folder: Path) -> None:
    store = Store(run.parents[1])
    step = make_plan(load_recipe(run / "recipe.yaml"), STEPS).step(name)
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}

    def work(stops: bool) -> None:
        place = Workspace(folder, min_checkpoint_seconds=1e9, stop=lambda: stops and len(place.metrics.read()) == 1)
        STEPS[step.kind].run(Job(step.name, step.config, step.seed, inputs, place, store))

    try:
        work(stops=True)
    except Interrupted:
        work(stops=False)
    else:
        sys.exit("it did not stop")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
