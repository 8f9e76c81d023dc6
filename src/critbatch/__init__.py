"""critbatch: which batch size, with which learning rate, reaches your target soonest, and what does it cost?

Each command is a call, too: `advise`, `speed`, `noise`, `train`, `sweep`, `curvature`, `sharpness`, `landscape`,
`shift`, `critical_point`, `escape`, `scale`, `fit`, `check_claims`, `report`. You bring a `Task`; an `Augmentation`
changes its training batches. A `Monitor` watches a training loop of your own. `recipes` has the plans of the papers,
`records` the results.

These names are the public ones: the stub beside this file lists them. All other modules are internal and may change.
Each name is loaded when it is first used, so that `import critbatch` loads neither torch nor numpy.
"""

from typing import Any

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "lecture":  # the name in version 0.1
        from critbatch.arguments import notice_renamed

        notice_renamed("critbatch.lecture", "critbatch.check_claims")
        name = "check_claims"
    return _public(name)
