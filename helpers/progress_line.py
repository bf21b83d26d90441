"""A line in the notebook that follows a training or a sweep."""

from collections.abc import Callable

import keras
from IPython import get_ipython
from IPython.display import display


def progress_line(start: str, what: str) -> Callable[..., None]:
    """Show `start` in the notebook; the function returned, (done, total, note), updates it.

    The line stays, complete, in the cell's output. Outside of a notebook nothing is shown.
    """
    if get_ipython() is None:
        return lambda *_: None
    line = display({"text/plain": start}, raw=True, display_id=True)

    def update(done: int, total: int, note: str = "") -> None:
        bar = ("█" * round(20 * done / total)).ljust(20, "░")
        line.update({"text/plain": f"{bar} {what} {done} of {total}{note}"}, raw=True)

    return update


class Progress(keras.callbacks.Callback):
    """One line in the notebook that follows the epochs."""

    done = 0
    update = staticmethod(lambda *_: None)  # until training begins

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Show the line."""
        self.update = progress_line("compiling ...", "epoch")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Update the line."""
        self.done = epoch + 1
        values = ", ".join(f"{name} {value:.2f}" for name, value in logs.items() if "loss" in name)
        self.update(self.done, self.params["epochs"], f": {values}")

    def stop(self) -> None:
        """Say in the line what an interruption leaves."""
        note = ", then stopped. vae.history holds these; fit again goes on from these weights."
        self.update(self.done, self.params["epochs"], note)
