"""Where a training's metrics go beside the run's own files: trackers of others, each an extra.

known        which there are, and whether they are installed
base         what a tracker is
reports      what a run sends to them, and that their failures are no failures of the run
tensorboard, wandb, mlflow, trackio    one each, the only places that import these packages
"""
