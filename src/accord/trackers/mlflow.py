"""MLflow: a database in the run's folder, unless MLFLOW_TRACKING_URI says otherwise.

`mlflow ui --backend-store-uri sqlite:///accord-store/runs/RUN/mlflow.db` shows it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Final

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from accord.trackers.base import Series

DATABASE: Final = "mlflow.db"
_TAG: Final = "accord.series"
_REFUSED: Final = re.compile(r"[^\w\-. :/]")  # characters that a metric's name may not have


class MLflow:
    """An MLflow run for each step, found again by a tag. Metrics have their names as they are, as with transformers'
    callback."""

    def __init__(self, series: Series, after: int) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(series.folder / DATABASE).resolve()}"
        self._client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "accord"
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        found = self._client.search_runs([number], filter_string=f"tags.`{_TAG}` = '{series.id}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {_TAG: series.id, "accord.kind": series.kind}
        self._run = self._client.create_run(number, run_name=series.name, tags=tags).info.run_id
        for key, value in {**series.config, "seed": series.seed}.items():
            self._client.log_param(self._run, key, str(value)[:500])

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(_REFUSED.sub("_", name), value, now, iteration) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run)
