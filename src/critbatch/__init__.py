"""critbatch: which batch size, with which learning rate, reaches your target soonest, and what does it cost?

Each command is a call, too: `advise`, `speed`, `noise`, `train`, `sweep`, `curvature`, `sharpness`, `landscape`,
`shift`, `critical_point`, `escape`, `scale`, `fit`, `lecture`, `report`. You bring a `Task`; an `Augmentation` changes
its training batches. A `Monitor` watches a training loop of your own. `recipes` has the plans of the papers, `records`
the results.

These names are the public ones: the stub beside this file lists them. All other modules are internal and may change.
Each name is loaded when it is first used, so that `import critbatch` loads neither torch nor numpy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
